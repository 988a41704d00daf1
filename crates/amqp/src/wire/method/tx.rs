//! Class 90: transactions.

methods! {
    90 "tx"
    /// Makes the channel transactional.
    10 "select" Select {}
    /// Done.
    11 "select-ok" SelectOk {}
    /// Does what was asked since the last commit.
    20 "commit" Commit {}
    /// Done.
    21 "commit-ok" CommitOk {}
    /// Forgets it.
    30 "rollback" Rollback {}
    /// Done.
    31 "rollback-ok" RollbackOk {}
}
