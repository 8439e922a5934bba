"""A search within a selection, which finds the best there are of it and as many as there are."""

from collections.abc import Callable, Mapping

import pyarrow as pa

from rag.search.select import Selection, chunk_test
from rag.search.where import And, Comparison, Condition, Operator, Or
from rag.store.lance import Expr, col, lit
from rag.store.tables import Outline, Store, store_errors

# An `isin` of a thousand names adds nothing that can be measured to a search, one of thirty thousand doubles its time.
MOST_NAMES = 5000
_GROWTH = 8

Run = Callable[[int, Expr | None], pa.Table]


def best_rows(store: Store, run: Run, limit: int, within: Selection | None, *, narrowed: bool = True) -> pa.Table:
    """The first `limit` rows of a search that are current and selected; all there are where there are fewer.

    `run(count, narrowing)` gives the search's best `count` rows of those that `narrowing` lets through. It is asked for
    more until enough remain: a filter that names tens of thousands of documents takes longer to plan than the rows that
    it would save. `narrowed` False says that narrowing changes what is best.
    """
    narrowing, there, count = None, limit, limit
    if within is not None:
        narrowing = _narrowing(within) if narrowed else None
        rows = store.documents()
        chunks = sum(rows[id_].chunks for id_ in within.documents if id_ in rows)
        there = min(limit, chunks)
        if chunks and (narrowing is None or len(within.documents) > MOST_NAMES):
            total = sum(row.chunks for row in rows.values())
            count = min(limit + 3 * limit * total // (2 * chunks), max(limit, total))
    current = store.outlines()
    while True:
        table = run(count, narrowing)
        kept = _kept(table, current, within)
        if len(kept) >= there or table.num_rows < count:
            return table.take(pa.array(kept[:limit], pa.int64()))
        count *= _GROWTH


def held(store: Store, within: Selection) -> set[str]:
    """The selected documents by id; where a condition on chunks is left, only those with a chunk that fulfils it."""
    certain = {id_ for id_, left in within.documents.items() if left is None}
    if len(certain) == len(within.documents):
        return certain
    with store_errors(store.path):
        query = store.chunks_table.search()
        if (narrowing := _narrowing(within)) is not None:
            query = query.where(narrowing)
        table = query.select(["document_id", "revision", "headings", "page"]).to_arrow()
    ids = table["document_id"].to_pylist()
    return certain | {ids[at] for at in _kept(table, store.outlines(), within)}


def _kept(table: pa.Table, current: Mapping[str, Outline], within: Selection | None) -> list[int]:
    """Which rows belong to the current version of a document, and to the selection."""
    documents = current if within is None else within.documents
    ids, revisions = table["document_id"].to_pylist(), table["revision"].to_pylist()
    kept = [
        at
        for at, (id_, revision) in enumerate(zip(ids, revisions, strict=True))
        if id_ in documents and id_ in current and current[id_].revision == revision
    ]
    tests = {id(each): chunk_test(each) for each in within.conditions() if each is not None} if within else {}
    if within is None or not tests:
        return kept
    headings, pages = table["headings"].to_pylist(), table["page"].to_pylist()
    return [
        at for at in kept if (left := within.documents[ids[at]]) is None or tests[id(left)](headings[at], pages[at])
    ]


def _narrowing(within: Selection) -> Expr | None:
    """What lets through all chunks of a selection, and not many others; None where that cannot be said in short."""
    few = len(within.documents) <= MOST_NAMES
    names = col("document_id").isin(sorted(within.documents)) if few and within.documents else None
    left = within.conditions()
    only = left[0] if len(left) == 1 else None
    return _both(names, _superset(only) if only is not None else None)


def _both(one: Expr | None, other: Expr | None) -> Expr | None:
    return other if one is None else one if other is None else one & other


def _superset(condition: Condition) -> Expr | None:
    """A condition on chunks as the database knows it, or a wider one; None for all.

    It has no function that looks into a list: headings are searched as one text, and looked at one by one afterwards.
    """
    match condition:
        case And(conditions):
            every: Expr | None = None
            for each in conditions:
                every = _both(every, _superset(each))
            return every
        case Or(conditions):
            return _any([_superset(each) for each in conditions])
        case Comparison():
            return _any([_comparison(condition, value) for value in condition.values])
        case _:
            return None


def _any(some: list[Expr | None]) -> Expr | None:
    """At least one of some conditions; None, which means all, if one of them does."""
    found: Expr | None = None
    for each in some:
        if each is None:
            return None
        found = each if found is None else found | each
    return found


def _comparison(comparison: Comparison, value: str) -> Expr | None:
    asked = comparison.operator
    if asked is Operator.UNEQUAL:
        return None  # a chunk without a page is unequal to any, which the database sees otherwise
    if comparison.field.lower() == "page":
        page, number = col("page").cast("float64"), lit(float(value))
        match asked:
            case Operator.LESS:
                return page < number
            case Operator.AT_MOST:
                return page <= number
            case Operator.MORE:
                return page > number
            case Operator.AT_LEAST:
                return page >= number
            case _:
                return page == number
    if asked is Operator.LIKE:
        return None
    return col("headings").cast("string").lower().contains(lit(value).lower())
