//! Real components on free ports, clocks, fault-injecting wrappers.
