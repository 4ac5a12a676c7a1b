//! What the proxy is to do wrong now.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Fault;

/// More than any test asks for, and an end all the same.
const REQUESTS_KEPT_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Script {
    state: Mutex<State>,
    /// Whether connections are refused; also the bell for those who wait for a change.
    refusing: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    rule: Option<Rule>,
    faults: usize,
    requests: VecDeque<String>,
    heads: VecDeque<String>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    times_left: Option<usize>,
    text: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self { state: Mutex::default(), refusing: watch::Sender::new(false) }
    }
}

impl Script {
    pub(super) fn set(&self, fault: Fault, times: Option<usize>, text: Option<String>) {
        let refuse = fault == Fault::Refuse;
        self.state.lock().rule = Some(Rule { fault, times_left: times, text });
        self.refusing.send_replace(refuse);
    }

    pub(super) fn heal(&self) {
        self.state.lock().rule = None;
        self.refusing.send_replace(false);
    }

    pub(super) fn faults(&self) -> usize {
        self.state.lock().faults
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.state.lock().requests.iter().cloned().collect()
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.state.lock().heads.iter().cloned().collect()
    }

    /// Notes what an HTTP request said.
    pub(super) fn note_head(&self, head: String) {
        let mut state = self.state.lock();
        if state.heads.len() == REQUESTS_KEPT_MAX {
            state.heads.pop_front();
        }
        state.heads.push_back(head);
    }

    /// Notes an HTTP request and says what is to happen to it.
    pub(super) fn decide(&self, summary: &str) -> Option<Fault> {
        let mut state = self.state.lock();
        if state.requests.len() == REQUESTS_KEPT_MAX {
            state.requests.pop_front();
        }
        state.requests.push_back(summary.to_owned());
        state.next_fault(summary.as_bytes())
    }

    /// Says what is to happen to a piece of a TCP stream.
    pub(super) fn decide_piece(&self, piece: &[u8]) -> Option<Fault> {
        self.state.lock().next_fault(piece)
    }

    /// Ends when the current fault is no longer a stall.
    pub(super) async fn unstalled(&self) {
        let mut bell = self.refusing.subscribe();
        while self.stalls() {
            if bell.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether connections are refused, with its changes.
    pub(super) fn refusing(&self) -> watch::Receiver<bool> {
        self.refusing.subscribe()
    }

    fn stalls(&self) -> bool {
        matches!(self.state.lock().rule, Some(Rule { fault: Fault::Stall, .. }))
    }
}

impl State {
    fn next_fault(&mut self, asked: &[u8]) -> Option<Fault> {
        let rule = self.rule.as_mut()?;
        if rule.text.as_ref().is_some_and(|text| !contains(asked, text.as_bytes())) {
            return None;
        }
        if let Some(left) = &mut rule.times_left {
            *left = left.checked_sub(1)?;
        }
        self.faults += 1;
        Some(rule.fault.clone())
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}
