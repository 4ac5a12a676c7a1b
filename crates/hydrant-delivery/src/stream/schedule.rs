//! What a stream's worker does next: a pure function of what it sees.

use std::time::Duration;

/// What the worker sees. Times are the monotonic clock's.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) now: Duration,
    pub(super) open: Option<OpenView>,
    /// Whether the log has records that were not read.
    pub(super) unread: bool,
    /// Whether so much is unread that reading it at once is worth it.
    pub(super) behind: bool,
    /// Before that, few records would be read: let them gather.
    pub(super) next_read_at: Duration,
    /// Before that, nothing can be read: the next records wait for a key.
    pub(super) blocked_until: Option<Duration>,
    /// Whether one more batch may be on its way.
    pub(super) slot_free: bool,
    /// Whether batches are on their way, or wait for a slot.
    pub(super) in_flight: bool,
    /// The stream is being deleted: deliver what is there, at once.
    pub(super) closing: bool,
}

/// The open batch, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenView {
    pub(super) full: bool,
    pub(super) deadline: Duration,
}

/// What led to a seal; the name is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Size,
    Age,
    Closing,
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Closing => "closing",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Read,
    Seal(Reason),
    /// Until something happens, at the latest at this time.
    Wait(Option<Duration>),
    /// Everything is delivered.
    Idle,
}

/// Decides.
///
/// A batch is sealed only when an upload can follow it. So after an outage, and after a start with much waiting, what piled up is
/// read on and cut by size; sealing what is there at each deadline would make thousands of small objects.
pub(super) fn next_step(view: View) -> Step {
    if let Some(until) = view.blocked_until.filter(|until| view.now < *until) {
        return while_blocked(view, until);
    }
    let Some(open) = view.open else {
        return without_open_batch(view);
    };
    if open.full {
        return if view.slot_free { Step::Seal(Reason::Size) } else { Step::Wait(None) };
    }
    let due = view.closing || view.now >= open.deadline;
    if view.unread && (view.behind || view.closing || (!due && view.now >= view.next_read_at)) {
        return Step::Read;
    }
    match (due, view.slot_free) {
        (true, true) if view.closing => Step::Seal(Reason::Closing),
        (true, true) => Step::Seal(Reason::Age),
        (true, false) if view.unread && view.now >= view.next_read_at => Step::Read,
        (true, false) => Step::Wait(view.unread.then_some(view.next_read_at)),
        (false, _) if view.unread => Step::Wait(Some(open.deadline.min(view.next_read_at))),
        (false, _) => Step::Wait(Some(open.deadline)),
    }
}

/// What was read before is sealed as ever; there is more, so the worker does not end.
fn while_blocked(view: View, until: Duration) -> Step {
    match view.open {
        Some(open) if open.full && view.slot_free => Step::Seal(Reason::Size),
        Some(_) if view.closing && view.slot_free => Step::Seal(Reason::Closing),
        Some(open) if view.now >= open.deadline && view.slot_free => Step::Seal(Reason::Age),
        Some(open) if view.now < open.deadline => Step::Wait(Some(open.deadline.min(until))),
        _ => Step::Wait(Some(until)),
    }
}

fn without_open_batch(view: View) -> Step {
    match view.unread {
        true if view.behind || view.closing || view.now >= view.next_read_at => Step::Read,
        true => Step::Wait(Some(view.next_read_at)),
        false if view.in_flight => Step::Wait(None),
        false => Step::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn view() -> View {
        View {
            now: NOW,
            open: None,
            unread: false,
            behind: false,
            next_read_at: NOW,
            blocked_until: None,
            slot_free: true,
            in_flight: false,
            closing: false,
        }
    }

    fn open(full: bool, deadline_secs: u64) -> Option<OpenView> {
        Some(OpenView { full, deadline: Duration::from_secs(deadline_secs) })
    }

    #[test]
    fn a_batch_is_sealed_by_size_or_age_whichever_is_first() {
        assert_eq!(next_step(View { open: open(true, 200), ..view() }), Step::Seal(Reason::Size));
        assert_eq!(next_step(View { open: open(false, 100), ..view() }), Step::Seal(Reason::Age));
        let young = View { open: open(false, 101), ..view() };
        assert_eq!(next_step(young), Step::Wait(Some(Duration::from_secs(101))));
    }

    #[test]
    fn nothing_is_sealed_while_no_upload_can_follow_but_reading_goes_on() {
        let due = View { open: open(false, 1), slot_free: false, in_flight: true, ..view() };
        assert_eq!(next_step(due), Step::Wait(None));
        assert_eq!(next_step(View { unread: true, ..due }), Step::Read);
        let full = View { open: open(true, 1), unread: true, ..due };
        assert_eq!(next_step(full), Step::Wait(None));
    }

    #[test]
    fn after_a_start_with_much_waiting_old_records_are_cut_by_size_not_by_age() {
        let old_and_behind = View { open: open(false, 1), unread: true, behind: true, ..view() };
        assert_eq!(next_step(old_and_behind), Step::Read);
    }

    #[test]
    fn a_due_batch_does_not_wait_for_the_few_records_that_come_meanwhile() {
        let due = View { open: open(false, 100), unread: true, ..view() };
        assert_eq!(next_step(due), Step::Seal(Reason::Age));
    }

    #[test]
    fn few_records_are_left_to_gather() {
        let later = NOW + Duration::from_secs(1);
        let few = View { unread: true, next_read_at: later, ..view() };
        assert_eq!(next_step(few), Step::Wait(Some(later)));
        assert_eq!(next_step(View { behind: true, ..few }), Step::Read);
        assert_eq!(next_step(View { open: open(false, 200), ..few }), Step::Wait(Some(later)));
    }

    #[test]
    fn a_stream_that_is_being_deleted_is_read_to_its_end_and_sealed_at_once() {
        let closing = View { closing: true, open: open(false, 900), ..view() };
        assert_eq!(next_step(View { unread: true, ..closing }), Step::Read);
        assert_eq!(next_step(closing), Step::Seal(Reason::Closing));
    }

    #[test]
    fn while_a_key_is_missing_what_was_read_is_sealed_and_the_worker_neither_reads_nor_ends() {
        let until = NOW + Duration::from_secs(5);
        let blocked = View { unread: true, behind: true, blocked_until: Some(until), ..view() };
        assert_eq!(next_step(blocked), Step::Wait(Some(until)));
        assert_eq!(next_step(View { closing: true, ..blocked }), Step::Wait(Some(until)));
        let young = View { open: open(false, 101), ..blocked };
        assert_eq!(next_step(young), Step::Wait(Some(Duration::from_secs(101))));
        assert_eq!(next_step(View { open: open(false, 900), ..blocked }), Step::Wait(Some(until)));
        assert_eq!(next_step(View { open: open(false, 100), ..blocked }), Step::Seal(Reason::Age));
        assert_eq!(next_step(View { open: open(true, 900), ..blocked }), Step::Seal(Reason::Size));
        assert_eq!(next_step(View { closing: true, ..young }), Step::Seal(Reason::Closing));
        let no_slot = View { open: open(true, 1), slot_free: false, ..blocked };
        assert_eq!(next_step(no_slot), Step::Wait(Some(until)));
        assert_eq!(next_step(View { blocked_until: Some(NOW), ..blocked }), Step::Read);
    }

    #[test]
    fn a_worker_is_idle_only_when_everything_is_delivered() {
        assert_eq!(next_step(View { in_flight: true, ..view() }), Step::Wait(None));
        assert_eq!(next_step(view()), Step::Idle);
    }
}
