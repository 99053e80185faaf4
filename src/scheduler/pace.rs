//! How fast the engine is, against what its cost model says.

/// Steps that it takes for the past to weigh a third.
const MEMORY_STEPS: f64 = 20.0;

/// A step as planned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) slots: usize,
    /// By the cost model, all slots together.
    pub(super) predicted_ms: f64,
    /// By the cost model, as if each slot stepped alone.
    pub(super) lone_ms: f64,
}

/// Sums that fade, so that their quotients are means weighted by time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    predicted_ms: f64,
    lone_ms: f64,
    elapsed_ms: f64,
    steps: f64,
    longest_ms: f64,
}

impl Pace {
    pub(super) fn record(&mut self, step: Step, elapsed_ms: f64) {
        if step.slots == 0 || !elapsed_ms.is_finite() || elapsed_ms < 0.0 {
            return;
        }
        let keep = 1.0 - 1.0 / MEMORY_STEPS;
        self.predicted_ms = self.predicted_ms * keep + step.predicted_ms;
        self.lone_ms = self.lone_ms * keep + step.lone_ms;
        self.elapsed_ms = self.elapsed_ms * keep + elapsed_ms;
        self.steps = self.steps * keep + 1.0;
        self.longest_ms = (self.longest_ms * keep).max(elapsed_ms);
    }

    /// Real time for one predicted.
    pub(super) fn slowness(&self) -> f64 {
        if self.predicted_ms > 0.0 { (self.elapsed_ms / self.predicted_ms).clamp(0.01, 100.0) } else { 1.0 }
    }

    /// Real time for one predicted for lone segments: less where slots share steps.
    pub(super) fn slowness_shared(&self) -> f64 {
        if self.lone_ms > 0.0 { (self.elapsed_ms / self.lone_ms).clamp(0.001, 100.0) } else { 1.0 }
    }

    /// None before the first step.
    pub(super) fn step_ms(&self) -> Option<f64> {
        (self.steps > 0.0).then(|| self.elapsed_ms / self.steps)
    }

    /// Of the recent ones.
    pub(super) fn longest_step_ms(&self) -> f64 {
        self.longest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_past_counts() {
        let mut pace = Pace::default();
        let step = Step { slots: 2, predicted_ms: 10.0, lone_ms: 15.0 };
        assert_eq!((pace.slowness(), pace.step_ms()), (1.0, None));
        pace.record(step, 30.0);
        assert_eq!((pace.slowness(), pace.slowness_shared(), pace.step_ms()), (3.0, 2.0, Some(30.0)));
        (0..200).for_each(|_| pace.record(step, 5.0));
        assert!((pace.slowness() - 0.5).abs() < 0.01 && pace.longest_step_ms() < 6.0);
        pace.record(step, f64::NAN);
        pace.record(Step::default(), 1e9);
        assert!((pace.slowness() - 0.5).abs() < 0.01);
    }
}
