"""Requests of any length in one step of f5's network: none hears another."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from f5_model import evaluation, relative  # noqa: E402
from ishowtts.engines.f5 import elementwise, schedule  # noqa: E402
from ishowtts.engines.f5.dit import DiT  # noqa: E402
from ishowtts.engines.f5.pack import lay_out, rotary_table  # noqa: E402


class TestPacking:
    def test_neighbours_change_nothing(self, dit: DiT) -> None:
        """Length, time, guidance and company at random, many times over."""
        choice = random.Random(5)
        with torch.inference_mode():
            for _ in range(40):
                company = [
                    evaluation(
                        dit,
                        frames=choice.randint(2, 150),
                        seed=choice.randrange(1 << 30),
                        t=choice.choice(schedule.common_times()),
                        strength=choice.choice([0.0, 1.0, 2.0, 3.5]),
                    )
                    for _ in range(choice.randint(1, 6))
                ]
                together = dit.velocities(company)
                for one, found in zip(company, together, strict=True):
                    assert relative(found, dit.velocities([one])[0]) < 1e-6

    def test_alone_is_the_same_bits_every_time(self, dit: DiT) -> None:
        with torch.inference_mode():
            one = evaluation(dit, 120, seed=1)
            first = dit.velocities([one])[0]
            dit.velocities([evaluation(dit, 77, seed=2), one])
            assert torch.equal(first, dit.velocities([one])[0])

    def test_nothing_given_is_changed(self, dit: DiT) -> None:
        with torch.inference_mode():
            company = [evaluation(dit, 60, seed=1), evaluation(dit, 40, seed=2, strength=0.0)]
            kept = [(e.x.clone(), e.prompt.conditional.clone(), e.prompt.unconditional.clone()) for e in company]
            row = dit.modulations.row(0.25).clone()
            dit.velocities(company)
            for one, (x, conditional, unconditional) in zip(company, kept, strict=True):
                assert torch.equal(one.x, x)
                assert torch.equal(one.prompt.conditional, conditional)
                assert torch.equal(one.prompt.unconditional, unconditional)
            assert torch.equal(dit.modulations.row(0.25), row)

    def test_not_a_number_stays_with_its_owner(self, dit: DiT) -> None:
        with torch.inference_mode():
            well, sick = evaluation(dit, 90, seed=1), evaluation(dit, 50, seed=2)
            sick = dataclasses.replace(sick, x=torch.full_like(sick.x, float("nan")))
            together = dit.velocities([sick, well])
            assert torch.isnan(together[0]).all()
            assert relative(together[1], dit.velocities([well])[0]) < 1e-6

    def test_a_row_of_gaps_is_the_same_convolution(self, dit: DiT) -> None:
        """What a GPU does instead of one convolution for each segment."""
        pack = lay_out([30, 7, 100], [True, False, True], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        with torch.inference_mode():
            assert relative(dit.placed.together(hidden, pack), dit.placed(hidden, pack)) < 1e-6

    def test_not_a_number_stays_with_its_owner_in_a_row_of_gaps(self, dit: DiT) -> None:
        """Zero times it is no zero."""
        pack = lay_out([30, 20, 40], [False, False, False], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        with torch.inference_mode():
            wanted = dit.placed.together(hidden, pack)
            hidden[30:50] = float("nan")
            found = dit.placed.together(hidden, pack)
        assert torch.isnan(found[30:50]).all()
        assert torch.equal(found[:30], wanted[:30])
        assert torch.equal(found[50:], wanted[50:])

    def test_modulations_by_row_are_the_same(self, dit: DiT) -> None:
        """What a GPU does instead of a loop over requests."""
        pack = lay_out([30, 7], [True, False], rotary_table(torch.ones(8), 200, torch.device("cpu")))
        hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((pack.tokens, 64)).astype(np.float32))
        rows = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 2, 64)).astype(np.float32))
        by_row = elementwise.EAGER.norm(hidden, *rows[:, pack.index], torch.float32)
        for number, (start, end) in enumerate(pack.spans):
            alone = elementwise.EAGER.norm(hidden[start:end], rows[0, number], rows[1, number], torch.float32)
            assert relative(by_row[start:end], alone) < 1e-6
