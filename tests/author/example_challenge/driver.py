"""What a case may ask of sink_cache: calls of the attention, its mask, and what is left of a cache."""

from grader.kit import both_sides, caches, drawn, helper, made, verb, whole

Tokens = whole(1, 32, "New tokens S.", usual=(1, 5))


class Setup:
    """Sizes of the case."""

    batch: whole(1, 8, "B.", usual=(1, 3))
    features: whole(1, 64, "D.", usual=(2, 9))
    sinks: whole(0, 8, "First tokens that stay.")
    window: whole(1, 32, "Latest tokens that stay.", usual=(1, 6))


@made("sinks", "window")
def limits(case):
    return case.sinks, case.window


@drawn(query="Query [B, S, D]", key="Key [B, S, D]", value="Value [B, S, D]")
def new(case, tokens: Tokens):
    return tuple(case.draw(case.batch, tokens, case.features) for _ in range(3))


@made("cache")
def cache(case, cache: caches.CacheName = None):
    return caches.cache_of(case.saved[cache]["cache"], "key", "value") if cache else None


@made("tokens")
def rows(case, tokens: whole(1, 64, "Tokens T before they are trimmed.")):
    return case.draw(case.batch, tokens, case.features)


@verb
def create(file, sinks, window):
    file.use(file.SinkAttention(sinks, window))


@verb("output", "cache")
def forward(head, query, key, value, cache):
    """Call forward on new tokens; answers output, cache/key and cache/value."""
    return head.forward(query, key, value, cache)


visible = helper("_visible", "visible", new=Tokens, total=whole(1, 64, "Tokens there are."))
trimmed = helper("_trimmed", "tokens", tokens=rows)

Plan, Verbs = both_sides(globals())
