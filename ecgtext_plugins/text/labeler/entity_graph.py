"""What a finding is a kind of: a directed graph without cycles whose edges carry a certainty."""

from collections.abc import Iterator, Mapping

import networkx as nx


class EntityGraph:
    """Entities, and how certain a wider one is when a narrower one is there.

    Parameters
    ----------
    kinds : mapping
        For every entity the entities that it is a kind of, or a sign of, and the certainty of that, in [0, 1].

    Raises
    ------
    ValueError
        Naming an entity with an unknown one above it, or the entities of a cycle.
    """

    def __init__(self, kinds: Mapping[str, Mapping[str, float]]):
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(kinds)
        for entity, above in kinds.items():
            for other, certainty in above.items():
                if other not in kinds:
                    raise ValueError(f"{entity!r} is a kind of {other!r}, which is no entity: expected one that is")
                self.graph.add_edge(entity, other, certainty=certainty)
        try:
            order = list(nx.topological_sort(self.graph))
        except nx.NetworkXUnfeasible:
            cycle = " -> ".join(edge[0] for edge in nx.find_cycle(self.graph))
            raise ValueError(f"cycle {cycle}: expected that nothing is a kind of itself") from None
        self._above: dict[str, dict[str, float]] = {}
        for entity in reversed(order):
            self._above[entity] = found = {entity: 1.0}
            for other, edge in self.graph[entity].items():
                for wider, certainty in self._above[other].items():
                    found[wider] = max(found.get(wider, 0.0), certainty * edge["certainty"])

    def __contains__(self, entity: object) -> bool:
        return isinstance(entity, str) and entity in self._above

    def __iter__(self) -> Iterator[str]:
        return iter(self.graph)

    def __len__(self) -> int:
        return len(self.graph)

    def above(self, entity: str) -> Mapping[str, float]:
        """Return the entity itself and all wider ones with the certainty that it gives them (best path's product)."""
        return self._above[entity]

    def is_kind(self, entity: str, wider: str) -> bool:
        """Tell whether `entity` is `wider` or surely a kind of it."""
        return self._above[entity].get(wider) == 1.0
