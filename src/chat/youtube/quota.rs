//! How often to ask, so that a day's quota lasts as long as the stream. Pure; time is handed in.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What one call costs, in YouTube's units.
pub(super) const MESSAGES: u64 = 5;
pub(super) const LOOK_UP: u64 = 1;
pub(super) const SEARCH: u64 = 100;

const DAY: u64 = 86_400;
/// Quotas start anew at midnight Pacific time: 8:00 UTC, in summer an hour earlier. The later of the two is always safe.
const RESET: u64 = 8 * 3600;
/// When the planned hours are over the rest must last for at least this long: so it never quite runs out.
const LEAST_LEFT: Duration = Duration::from_secs(1800);

/// What was used on which day; kept across restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Used {
    /// Days since 1970 that began at the quota's midnight.
    pub day: u64,
    pub units: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Quota {
    daily: u64,
    lasts: Duration,
    used: Used,
    /// Of the stream.
    began: SystemTime,
}

impl Quota {
    pub(super) fn new(daily: u64, lasts: Duration, used: Used, now: SystemTime) -> Self {
        Self { daily, lasts, used, began: now }
    }

    /// Another stream, for which the rest of the day's quota is to last.
    pub(super) fn begin(&mut self, now: SystemTime) {
        self.began = now;
    }

    pub(super) fn spend(&mut self, units: u64, now: SystemTime) {
        let day = day_of(now);
        if self.used.day != day {
            self.used = Used { day, units: 0 };
        }
        self.used.units = self.used.units.saturating_add(units);
    }

    /// YouTube says that nothing is left.
    pub(super) fn spent(&mut self, now: SystemTime) {
        self.used = Used { day: day_of(now), units: self.used.units.max(self.daily) };
    }

    pub(super) const fn used(&self) -> Used {
        self.used
    }

    pub(super) fn left(&self, now: SystemTime) -> u64 {
        let used = if self.used.day == day_of(now) { self.used.units } else { 0 };
        self.daily.saturating_sub(used)
    }

    /// Between two calls for messages; none: not before the quota starts anew.
    pub(super) fn interval(&self, now: SystemTime) -> Option<Duration> {
        let calls = self.left(now) / MESSAGES;
        if calls == 0 {
            return None;
        }
        let elapsed = now.duration_since(self.began).unwrap_or_default();
        let planned = self.lasts.saturating_sub(elapsed).max(LEAST_LEFT);
        let rest = planned.min(until_reset(now)).max(Duration::from_secs(1));
        Some(rest.div_f64(calls as f64))
    }
}

pub(super) fn until_reset(now: SystemTime) -> Duration {
    let since = seconds(now).saturating_sub(RESET);
    Duration::from_secs(DAY - since % DAY)
}

fn day_of(now: SystemTime) -> u64 {
    seconds(now).saturating_sub(RESET) / DAY
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(day: u64, hour: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * DAY + hour * 3600)
    }

    #[test]
    fn a_free_quota_lasts_for_the_planned_hours() {
        let mut now = at(20_000, 10);
        let mut quota = Quota::new(10_000, 4 * HOUR, Used::default(), now);
        let end = now + 4 * HOUR;
        let mut calls = 0;
        while now < end {
            quota.spend(MESSAGES, now);
            now += quota.interval(now).expect("some is left");
            calls += 1;
        }
        assert!(calls > 1600, "{calls}");
        // Whoever streams for longer is heard ever more seldom, but is heard.
        for _ in 0..60 {
            quota.spend(MESSAGES, now);
            now += quota.interval(now).expect("some is left");
        }
        assert!(now > end + HOUR / 3, "{:?}", now.duration_since(end));
    }

    #[test]
    fn each_stream_has_its_hours() {
        let first = at(20_000, 10);
        let mut quota = Quota::new(10_000, 4 * HOUR, Used::default(), first);
        let fresh = quota.interval(first);
        let next_day = at(20_001, 12);
        assert_ne!(quota.interval(next_day), fresh, "the hours of the first stream are over");
        quota.begin(next_day);
        assert_eq!(quota.interval(next_day), fresh);
    }

    #[test]
    fn it_starts_anew_at_its_midnight() {
        let now = at(20_000, 7);
        let mut quota = Quota::new(10_000, HOUR, Used::default(), now);
        quota.spent(now);
        assert_eq!((quota.left(now), quota.interval(now)), (0, None));
        assert_eq!(until_reset(now), HOUR);
        let later = now + until_reset(now);
        assert_eq!(quota.left(later), 10_000);
        quota.spend(1, later);
        assert_eq!(quota.used(), Used { day: 20_000, units: 1 });
    }

    proptest! {
        #[test]
        fn it_is_never_overdrawn(daily in 100_u64..20_000, hours in 1_u32..24, hour in 0_u64..24, advised in 0_u64..10) {
            let mut now = at(20_000, hour);
            let mut quota = Quota::new(daily, HOUR * hours, Used::default(), now);
            for _ in 0..3000 {
                let Some(interval) = quota.interval(now) else { break };
                quota.spend(MESSAGES, now);
                prop_assert!(quota.used().units <= daily);
                now += interval.max(Duration::from_secs(advised));
            }
        }
    }
}
