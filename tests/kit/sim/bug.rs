//! Bugs put in on purpose, to prove that the judge sees them.
//!
//! They live between the world and the real core, so the core needs no switch for them: the adapter answers too
//! early, forgets, or lets pass what the core would have refused.

use crate::checker::Violation;

/// One bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// A send is acknowledged before it is flushed.
    AckBeforeFlush,
    /// Numbers are marked as held before the signature is checked.
    RememberBeforeVerify,
    /// Signatures are not checked.
    NoVerify,
    /// Nobody asks for what is missing.
    NoRepair,
    /// A restart goes on with the epoch of the run before.
    ReusedNumber,
    /// Only the newest envelopes are known as held.
    LossyDedup,
    /// A restart forgets which keys were used.
    ForgottenKeys,
    /// What the disk refused counts as stored.
    FailureIgnored,
    /// What came from others is told and passed on before it is stored.
    ForwardBeforeStore,
    /// What was repaired is pushed on as if it were new.
    EagerRepair,
    /// A link that was hung up is never forgotten.
    LeakedLinks,
    /// After some dials that failed, nobody is dialed any more.
    DeadDial,
    /// Any clock is followed, however far it is ahead.
    ClockFollowed,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::AckBeforeFlush,
        Self::RememberBeforeVerify,
        Self::NoVerify,
        Self::NoRepair,
        Self::ReusedNumber,
        Self::LossyDedup,
        Self::ForgottenKeys,
        Self::FailureIgnored,
        Self::ForwardBeforeStore,
        Self::EagerRepair,
        Self::LeakedLinks,
        Self::DeadDial,
        Self::ClockFollowed,
    ];

    /// Whether this violation is what the bug does, not a side effect.
    #[must_use]
    pub fn explains(self, violation: &Violation) -> bool {
        match self {
            Self::AckBeforeFlush => matches!(violation, Violation::AckLost { .. }),
            Self::RememberBeforeVerify | Self::NoRepair => {
                matches!(violation, Violation::AckLost { .. } | Violation::Unequal { .. })
            }
            Self::NoVerify => matches!(violation, Violation::BadSignature { .. }),
            Self::ReusedNumber => matches!(
                violation,
                Violation::NumberReused { .. } | Violation::Altered { .. } | Violation::NotSent { .. }
            ),
            Self::LossyDedup => matches!(violation, Violation::DeliveredTwice { .. }),
            Self::ForgottenKeys => matches!(violation, Violation::KeyTwice { .. }),
            Self::FailureIgnored => matches!(violation, Violation::AckLost { .. } | Violation::Hole { .. }),
            Self::ForwardBeforeStore => matches!(violation, Violation::ToldTooSoon { .. }),
            Self::EagerRepair => matches!(violation, Violation::Storm { .. }),
            Self::LeakedLinks => matches!(violation, Violation::Over { .. }),
            Self::DeadDial => matches!(violation, Violation::GivenUp { .. }),
            Self::ClockFollowed => matches!(violation, Violation::ClockMoved { .. }),
        }
    }
}
