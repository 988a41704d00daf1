//! Heartbeats: a sign of life when nothing else is said, and the end of a peer that gives none.
//! Looked at twice an interval, never per message.

/// What a look at the connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// All is well.
    Nothing,
    /// We have been silent: say something.
    Send,
    /// The peer has been silent for two intervals.
    Dead,
}

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignsOfLife {
    /// Bytes came from the peer, or we would not have read them.
    pub heard: bool,
    /// Bytes went to the peer.
    pub spoke: bool,
}

/// Looks after which a silent peer is dead: two intervals.
const SILENT_LOOKS_MAX: u8 = 4;

/// The pace agreed on, and how long the peer has been silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    interval_seconds: u16,
    silent_looks: u8,
}

impl Heartbeat {
    /// A sign of life at least every `interval_seconds`; 0: never.
    pub(crate) fn every(interval_seconds: u16) -> Heartbeat {
        Heartbeat { interval_seconds, silent_looks: 0 }
    }

    /// How long until the next look; `None`: there is nothing to look at.
    pub(crate) fn look_ms(self) -> Option<u64> {
        (self.interval_seconds > 0).then(|| u64::from(self.interval_seconds) * 500)
    }

    /// Half an interval has gone by.
    pub(crate) fn look(&mut self, signs: SignsOfLife) -> Beat {
        self.silent_looks = if signs.heard { 0 } else { self.silent_looks + 1 };
        if self.silent_looks >= SILENT_LOOKS_MAX {
            Beat::Dead
        } else if signs.spoke {
            Beat::Nothing
        } else {
            Beat::Send
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `h`: heard, `s`: spoke, `b`: both, `-`: neither; answers `.` nothing, `!` send, `x` dead.
    fn check(script: &str, expected: &str) {
        let mut heartbeat = Heartbeat::every(10);
        let found: String = script
            .chars()
            .map(|sign| {
                let signs = SignsOfLife { heard: "hb".contains(sign), spoke: "sb".contains(sign) };
                match heartbeat.look(signs) {
                    Beat::Nothing => '.',
                    Beat::Send => '!',
                    Beat::Dead => 'x',
                }
            })
            .collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn silence_is_answered_and_long_silence_ends() {
        check("bbbb", "....");
        check("hhhh", "!!!!");
        check("----", "!!!x");
        check("ssss", "...x");
        check("---h---h----", "!!!!!!!!!!!x");
        assert_eq!(Heartbeat::every(10).look_ms(), Some(5_000));
        assert_eq!(Heartbeat::every(0).look_ms(), None);
    }
}
