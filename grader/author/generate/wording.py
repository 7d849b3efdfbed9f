"""What learners are told of a generated bug: title, symptom, explanation and three hints.

The words for a kind of mistake come from a table by operator; what is seen of it comes from what the cases measured, so
that a symptom never claims what no case shows; where it stands, from the function's own name and docstring.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

from grader.author.generate.acceptance import Verdicts
from grader.author.generate.difficulty import needs_history
from grader.author.generate.proposals import Proposal
from grader.content import Case, Challenge


@dataclass(frozen=True)
class Words:
    """What is said of one operator's mistakes: in the title, as the idea of the second hint, and as explanation."""

    title: str
    idea: str
    why: str


TABLE: dict[str, Words] = {
    # axes
    "dim_of_call": Words(
        "A step along the wrong axis",
        "Write down the shape at this place, and say in words which axis is to be worked along.",
        "A tensor has several axes that could be meant here, and only one of them is: along another one the numbers of "
        "different tokens, heads or rows are mixed.",
    ),
    "axis_of_method": Words(
        "A step along the wrong axis",
        "Write down the shape at this place, and say in words which axis is to be worked along.",
        "A tensor has several axes that could be meant here, and only one of them is: along another one the numbers of "
        "different tokens, heads or rows are mixed.",
    ),
    "size_of_other_axis": Words(
        "A size is read off the wrong axis",
        "Which axis holds the count that is needed here? Use sizes that all differ.",
        "Sizes that happen to be equal hide this: the count is right as long as the two axes are equally long.",
    ),
    "new_axis_elsewhere": Words(
        "A new axis stands on the wrong side",
        "Which of the two should be a row and which a column, before they are broadcast against each other?",
        "Broadcasting joins whatever fits. With the new axis on the other side each item is compared with another "
        "one than its own.",
    ),
    "transpose_dropped": Words(
        "Two axes are not swapped",
        "Follow the order of the axes from line to line, and see where it differs from what the next line expects.",
        "The numbers are all there, in an order of axes that the next step does not expect.",
    ),
    "other_axes_transposed": Words(
        "Another pair of axes is swapped",
        "Follow the order of the axes from line to line. Which two should change places?",
        "The next step expects two other axes to have changed places.",
    ),
    "sizes_swapped": Words(
        "The axes of a tensor are cut in the wrong order",
        "In which order do the numbers lie in memory, and which axis runs fastest?",
        "Cutting does not move numbers. Axes named in another order cut the same memory into other pieces.",
    ),
    "axis_added_elsewhere": Words(
        "An axis is added or taken in the wrong place",
        "Write the shape before and after this step, and compare it with the shape it is used with.",
        "The axis must stand where the other operand has the one that it is broadcast along.",
    ),
    "kernel_reduces_other_axis": Words(
        "A tile is reduced along the wrong axis",
        "Which axis of the tile are the queries, and which the keys? One number is needed for each query.",
        "Each row of a tile is one query, and a reduction must leave one number a row.",
    ),
    # order
    "arguments_swapped": Words(
        "Two arguments are handed over in the wrong order",
        "Read the call beside the signature of what it calls.",
        "Both arguments are accepted in either place, so nothing complains; each takes the other's part.",
    ),
    "other_end": Words(
        "The item at the wrong end is taken",
        "Which of the items is meant here, the oldest or the newest?",
        "The first item is taken for the last, or the reverse; with a single item nothing shows.",
    ),
    "pieces_swapped": Words(
        "Two pieces are joined in the wrong order",
        "Which of the pieces is older, and where must it stand?",
        "The order of the pieces is the order of the tokens.",
    ),
    "pair_swapped": Words(
        "A pair is given the wrong way round",
        "Read what is given away here beside what the receiver takes it for.",
        "The receiver takes the parts by their places, not by their names.",
    ),
    "unpacked_in_other_order": Words(
        "A result is taken apart in the wrong order",
        "In which order do the parts come out, and which name does each get?",
        "The names are given by place, so from here on each name stands for the other part.",
    ),
    "repeated_as_blocks": Words(
        "Whole blocks are repeated, not single heads",
        "Write down for 4 query heads on 2 key/value heads which one each of them reads.",
        "Neighbouring query heads share a key/value head. Repeating the whole block deals the heads out in turn.",
    ),
    # off by one
    "border_moved": Words(
        "A border falls on the wrong side",
        "Take the case in which both sides of a comparison are equal, and ask what should happen then.",
        "The two comparisons differ only where both sides are equal, and that is a case that occurs.",
    ),
    "number_one_up": Words(
        "A number is one too large",
        "Check the literal numbers of this function with a small example by hand.",
        "The literal is one more than what is counted.",
    ),
    "number_one_down": Words(
        "A number is one too small",
        "Check the literal numbers of this function with a small example by hand.",
        "The literal is one less than what is counted.",
    ),
    "slice_ends_early": Words(
        "A slice ends one item early",
        "The end of a slice does not belong to it. Count the items that are taken.",
        "The end of a slice is excluded already, so the last item is lost.",
    ),
    "slice_ends_late": Words(
        "A slice ends one item late",
        "The end of a slice does not belong to it. Count the items that are taken.",
        "The slice takes one item more than there is use for.",
    ),
    "slice_begins_late": Words(
        "A slice begins one item late",
        "Which item should be the first one that is taken?",
        "The item at the beginning belongs to the slice, and is passed over.",
    ),
    "other_side_of_slice": Words(
        "The wrong part of a sequence is kept",
        "Which part should stay: the one before the border or the one behind it?",
        "Both parts have a length that may fit, and only one holds what is needed.",
    ),
    "counted_from_one": Words(
        "Numbers begin at 1 that should begin at 0",
        "Which number has the first item here, and which one is expected of it?",
        "All numbers are one too large; where only their differences count nothing shows.",
    ),
    "loop_ends_early": Words(
        "A loop leaves out one round",
        "Write down which rounds the loop goes through for a count of 1 and of 2.",
        "One of the rounds is left out, so one item stays as it was.",
    ),
    # offset
    "loop_from_zero": Words(
        "A loop begins at 0",
        "Where should the loop go on, when a part is done already?",
        "The loop begins at 0 instead of behind what is done; with nothing done that is right.",
    ),
    "minus_dropped": Words(
        "A minus is missing",
        "Check the sign of each part with numbers for which you know the result.",
        "The part comes in with the wrong sign; where it is 0 nothing shows.",
    ),
    "sign_flipped": Words(
        "A part is added that should be taken away, or the reverse",
        "Put small numbers in and see whether the result should grow or shrink.",
        "The part moves the result the wrong way; where it is 0 nothing shows.",
    ),
    "term_dropped": Words(
        "A term of a sum is missing",
        "Which parts make up the number that is computed here? Count them in words.",
        "A part of the sum is left out. Where that part is 0 nothing shows.",
    ),
    "left_term_dropped": Words(
        "The first part of a sum is missing",
        "What do the sums of this function begin with, and what should they begin with?",
        "What the sum begins with is left out. Where that is 0 nothing shows.",
    ),
    "counted_from_zero": Words(
        "Counting begins anew at 0",
        "What does the counting here begin with when something stands before it?",
        "The new items are numbered from 0, whatever stands before them; with nothing before them that is right.",
    ),
    # scale
    "factor_dropped": Words(
        "A factor is missing",
        "What is each number multiplied or divided by on its way, according to the formula?",
        "The formula has a factor here. Without it the numbers are of another size, and the shapes are the same.",
    ),
    "factor_inverted": Words(
        "A factor is applied the wrong way round",
        "Should the numbers grow or shrink by this factor?",
        "Multiplying where the formula divides changes the size of every number and no shape.",
    ),
    "root_dropped": Words(
        "A square root is missing",
        "How does the size of a sum of D products grow with D?",
        "A dot product of D terms has a standard deviation of sqrt(D), not of D.",
    ),
    "exponent_changed": Words(
        "An exponent is wrong",
        "How does the size of a sum of D products grow with D?",
        "A dot product of D terms has a standard deviation of sqrt(D), not of D.",
    ),
    # mask
    "comparison_turned": Words(
        "A comparison points the wrong way",
        "Say the condition in words for the first and the last item.",
        "The condition holds exactly where it should not.",
    ),
    "blocked_by_zero": Words(
        "What should not count is given the value 0",
        "Which number gets the weight 0 when a softmax has been taken?",
        "exp(0) is 1: a score of 0 has a weight like any other. Only -inf takes it away.",
    ),
    "mask_inverted": Words(
        "A mask is used the wrong way round",
        "Does a true in this mask mean that something is seen, or that it is hidden?",
        "What should be hidden is seen, and what should be seen is hidden.",
    ),
    "negation_dropped": Words(
        "A condition is the wrong way round",
        "Say in words when this condition should hold.",
        "The negation is missing, so the condition holds exactly where it should not.",
    ),
    "condition_dropped": Words(
        "One of two conditions is missing",
        "Which conditions must hold together here? Name each of them.",
        "Two things must hold together, and only one is asked for.",
    ),
    "conditions_joined_otherwise": Words(
        "Two conditions are joined the wrong way",
        "Must both conditions hold, or does one of them suffice?",
        "The two conditions are joined by the other of `and` and `or`.",
    ),
    # conditions
    "none_test_turned": Words(
        "The wrong branch is taken when nothing is given",
        "Go through this function once with None and once without.",
        "The two branches have changed places.",
    ),
    "any_for_all": Words(
        "One suffices where all are needed, or the reverse",
        "Must it be so for each of them, or is one enough?",
        "`any` and `all` agree only where all are alike.",
    ),
    "and_for_or": Words(
        "Two conditions are joined the wrong way",
        "Must both conditions hold, or does one of them suffice?",
        "The two conditions are joined by the other of `and` and `or`.",
    ),
    "test_dropped": Words(
        "A condition asks for too little",
        "Which case should this condition leave out and does not?",
        "A part of the condition is missing, so it holds more often than it should.",
    ),
    "switch_turned": Words(
        "A switch is set the wrong way",
        "Check each true and false in this function against what is wanted.",
        "The switch says the opposite of what is wanted.",
    ),
    "case_left_out": Words(
        "Two cases are treated as one",
        "Which two cases must be told apart here, and what should each of them give?",
        "Both cases are answered as one of the two should be.",
    ),
    "check_dropped": Words(
        "A check is missing",
        "What must be refused here, or answered at once? Look for each such case.",
        "What the check stops goes on as if it were an ordinary case.",
    ),
    # twins
    "twin_name": Words(
        "One name is used where another is meant",
        "Two things here have names that look alike. Check each use of them.",
        "The two have the same shape or kind, so nothing complains.",
    ),
    "twin_attribute": Words(
        "One attribute is used where another is meant",
        "Two attributes here have names that look alike. Check each use of them.",
        "The two have the same shape or kind, so nothing complains.",
    ),
    "twin_key": Words(
        "An entry is read under the wrong key",
        "Check each key of the dictionary against what is done with the entry.",
        "Both entries are there and of the same shape, so nothing complains.",
    ),
    # state
    "effect_dropped": Words(
        "A step is not taken",
        "List what this function has to change, and tick off each item.",
        "A call that was made for its effect is missing, so something stays as it was.",
    ),
    "store_dropped": Words(
        "A value is not kept",
        "Which values must outlive this call, and is each of them stored?",
        "The new value is never stored, so later calls find the old one.",
    ),
    "update_dropped": Words(
        "A step on the way is left out",
        "Follow one value through this function and compare each step with what should be done to it.",
        "One of the steps that a value goes through is missing.",
    ),
    "increment_replaces": Words(
        "A running count is overwritten",
        "What should the count be after the second call?",
        "The count is set to what was added last, so it is right once and then no more.",
    ),
    "done_in_other_order": Words(
        "Two steps are taken in the wrong order",
        "Does any step here look at something that another one changes?",
        "One of the two steps reads what the other one changes, so their order matters.",
    ),
    # aliases
    "copy_dropped": Words(
        "Something is handed on without a copy",
        "Who else holds the object that is given away or kept here?",
        "Both sides hold one object, so each sees what the other writes into it.",
    ),
    "list_not_copied": Words(
        "The thing itself is kept, not a copy of it",
        "Who else holds what is kept here, and may change it?",
        "Both sides hold one object, so each sees what the other puts into it.",
    ),
    "written_in_place": Words(
        "Something is written into what belongs to somebody else",
        "Which tensors does this function change, and whose are they?",
        "A name with an underscore at its end writes into the tensor itself, which others hold too.",
    ),
    "result_thrown_away": Words(
        "A result is computed and thrown away",
        "Does this step change the tensor, or return another one?",
        "Without the underscore the call returns a new tensor and leaves the old one as it was.",
    ),
    # cache
    "first_row_for_all": Words(
        "Every row is treated like the first",
        "Give the rows different lengths. Where does each row's own number come in?",
        "The entry of row 0 is used for every row; rows that are alike hide it.",
    ),
    "wrapped_or_held": Words(
        "A numbering stops where it should begin anew",
        "What is the place of the first item behind the end?",
        "Behind the end the numbering begins anew; here it stays at the last place.",
    ),
    "heads_dealt_in_turn": Words(
        "Query heads are dealt out in turn",
        "Write down for 4 query heads on 2 key/value heads which one each of them reads.",
        "Neighbouring query heads share a key/value head: heads 0 and 1 the first, heads 2 and 3 the second.",
    ),
    # kernels
    "stride_of_other_axis": Words(
        "A step in memory is taken with the wrong stride",
        "Which axis does this index run along, and how far apart are its items in memory?",
        "The stride of another axis is used. For some layouts the two are equal.",
    ),
    "load_unmasked": Words(
        "Lanes behind the end are loaded too",
        "How many lanes has the tile, and how many of them stand for something?",
        "Without a mask the lanes behind the end read whatever lies in memory there.",
    ),
    "other_fill": Words(
        "Lanes behind the end hold a number that counts",
        "What do the lanes hold that nothing is loaded for, and what does that do to the result?",
        "The lanes behind the end must hold the number that changes nothing in what follows.",
    ),
    "last_tile_lost": Words(
        "The last, shorter tile is left out",
        "Take a length that is no multiple of the tile. How many tiles are there?",
        "A division that rounds down counts the whole tiles only.",
    ),
    "other_program_axis": Words(
        "A program takes its number from the wrong axis of the grid",
        "Compare the grid of the launch with what the kernel reads of it.",
        "The axes of the grid stand for other things; the kernel must read each where the launch put it.",
    ),
    # reductions and precision
    "extreme_swapped": Words(
        "The smallest is taken instead of the largest, or the reverse",
        "Put two different numbers in. Which one should come out?",
        "The other of the two extremes is meant.",
    ),
    "bound_dropped": Words(
        "A number is not held within its bounds",
        "How small and how large may each number of this function become?",
        "The bound is missing. As long as the number stays within it anyway, nothing shows.",
    ),
    "quotient_or_rest": Words(
        "Quotient and rest are mixed up",
        "Write down what this gives for 0, 1, 2, 3 and what it should give.",
        "One of the two says in which group an item is, the other its place in the group.",
    ),
    "mean_or_sum": Words(
        "A sum is taken for a mean, or the reverse",
        "Does the size of the result depend on how many numbers go in?",
        "Sum and mean differ by the number of items.",
    ),
    "dtype_narrowed": Words(
        "A number is kept in too narrow a type",
        "Which type is needed for the largest number here, or for the finest difference?",
        "The narrower type rounds, or wraps around, where the wider one does not.",
    ),
    "cast_dropped": Words(
        "A step is computed in the wrong type",
        "Which type do the inputs have, and in which should this step be computed?",
        "The conversion is missing, so the step is computed in the type of its input.",
    ),
    "halves_swapped": Words(
        "The two halves of a vector are mixed up",
        "Which half is multiplied by the cosine, and which by the sine?",
        "The halves have changed places.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """What is said of one bug beside its symptom."""

    title: str
    explanation: str
    hints: tuple[str, str, str]


def texts(challenge: Challenge, proposal: Proposal) -> Texts:
    """Return the words that follow from the operators of a bug and its place."""
    words = [TABLE[name] for name in proposal.operators]
    where = proposal.function or challenge.file
    title = (
        words[0].title if len(words) == 1 else f"{words[0].title}, and a second mistake beside it"
    )
    ideas = " ".join(word.idea for word in dict.fromkeys(words))
    why = " ".join(word.why for word in dict.fromkeys(words))
    return Texts(
        f"{title} (`{where.rpartition('.')[2]}`)",
        f"In `{where}`, {_change(proposal)} {why}",
        (_place(challenge, where), ideas, f"In `{where}`, {_mend(proposal)}"),
    )


def symptom(challenge: Challenge, verdicts: Verdicts) -> str:
    """Say what a user of the code sees, from what the cases saw."""
    failed = [challenge.cases[name] for name in verdicts.witnesses]
    scenarios = [case for case in failed if case.kind == "scenario"]
    every = [case for case in challenge.cases.values() if case.kind == "scenario"]
    share = len(scenarios) / max(len(every), 1)
    if needs_history(challenge, verdicts):
        begin = "At first all is well. Later"
    elif share > 0.8:
        begin = "In nearly every use"
    elif share > 0.3:
        begin = "In many uses"
    else:
        begin = "Most uses are right. In a few"
    return f"{begin}, {_what(verdicts)}.{_only(scenarios, every)}"


def _what(verdicts: Verdicts) -> str:
    kind = Counter(verdicts.kinds.values()).most_common(1)[0][0]
    outputs = Counter(name for name in verdicts.outputs.values() if name)
    named = f"`{outputs.most_common(1)[0][0]}`" if outputs else "the answer"
    if kind == "mutated_input":
        return "a call changes what belongs to its caller"
    if kind == "did_not_raise":
        return "a call that must be refused is answered as if all were well"
    if kind == "not_finite":
        return f"{named} is not finite"
    size = verdicts.median_excess
    return f"{named} is {'slightly ' if size < 1e3 else ''}wrong, and nothing is raised"


def _only(scenarios: list[Case], every: list[Case]) -> str:
    """Name what the failed scenarios have in common and no passed one has: a tag of theirs."""
    failed = {case.id for case in scenarios}
    for tag in sorted({tag for case in scenarios for tag in case.tags}):
        tagged = {case.id for case in every if tag in case.tags}
        if failed and failed == tagged:
            return f" It shows in the cases tagged `{tag}`, and in no other."
    if 0 < len(scenarios) <= 2:
        return f" It shows in {' and '.join(repr(case.title) for case in scenarios)}."
    return ""


def _place(challenge: Challenge, where: str) -> str:
    promise = _promise(challenge.reference_text, where)
    said = f' It promises: "{promise}"' if promise else ""
    return f"Read `{where}` line by line.{said}"


def _promise(reference: str, where: str) -> str:
    """Return the first sentence of a function's docstring; empty where it has none."""
    node: ast.AST = ast.parse(reference)
    for name in where.split("."):
        inner = [n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == name]
        if not inner:
            return ""
        node = inner[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return ""
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    return text if len(text) <= 160 else ""


def _change(proposal: Proposal) -> str:
    if not proposal.after:
        return f"{_lines(proposal)} `{_flat(proposal.before)}` {'is' if _is_one(proposal) else 'are'} missing."
    if sorted(proposal.before.splitlines()) == sorted(proposal.after.splitlines()):
        first, second = proposal.before.splitlines()[0], proposal.before.splitlines()[-1]
        return f"`{first}` must come before `{second}`."
    return f"`{_flat(proposal.before)}` became `{_flat(proposal.after)}`."


def _mend(proposal: Proposal) -> str:
    if not proposal.after:
        return f"put back {_lines(proposal)} `{_flat(proposal.before)}`."
    if sorted(proposal.before.splitlines()) == sorted(proposal.after.splitlines()):
        return _change(proposal)
    return f"`{_flat(proposal.after)}` must be `{_flat(proposal.before)}`."


def _is_one(proposal: Proposal) -> bool:
    return len(proposal.before.splitlines()) == 1


def _lines(proposal: Proposal) -> str:
    return "the line" if _is_one(proposal) else "the lines"


def _flat(text: str) -> str:
    return " ".join(text.split())
