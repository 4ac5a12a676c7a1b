//! Takes every stream's records from the log to its destination, one recorded step at a time.
