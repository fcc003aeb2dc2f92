"""Tasks of a search's trial: its placement group has no CPU for them."""

from __future__ import annotations

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from musicrec.runtime.cluster import map_unordered


def test_what_a_trial_maps_runs_outside_of_its_placement_group(ray_session: None) -> None:
    group = placement_group([{"node:__internal_head__": 0.001}])
    inside = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)

    @ray.remote(num_cpus=0, scheduling_strategy=inside)
    def trial() -> list[int]:
        return sorted(map_unordered(lambda number: -number, [-1, -2]))

    try:
        assert ray.get(trial.remote()) == [1, 2]
    finally:
        remove_placement_group(group)
