# Comprehensions, default, every, in, else, negation, partial rules, functions and with. The constructs are those of OPA's
# test folders comprehensions, defaultkeyword, every, elsekeyword, negation, partialsetdoc, partialobjectdoc, functions,
# withkeyword and refheads; the cases are ours, the expected values those of the Rego reference.
package constructs.language_test

test_array_comprehension_keeps_order_and_repeats if [y | some x in [3, 1, 3]; y := x * 2] == [6, 2, 6]

test_set_comprehension_drops_repeats if {y | some x in [1, 2, 3]; y := x % 2} == {0, 1}

test_object_comprehension if {k: v | some k, v in ["a", "b"]} == {0: "a", 1: "b"}

test_nested_comprehension if [[y | some y in x; y > 1] | some x in [[1, 2], [3]]] == [[2], [3]]

test_comprehension_of_nothing if [x | some x in []] == []

test_comprehension_closes_over_variables if {
	n := 2
	[x | some x in [1, 2, 3]; x > n] == [3]
}

default a := "default"

a := "other" if input.x

test_default_counts_when_nothing_holds if a == "default" with input as {}

test_default_gives_way if a == "other" with input as {"x": true}

default f(_) := 0

f(x) := x if x > 10

test_default_of_a_function if [f(5), f(11)] == [0, 11]

test_every_over_array if {
	every x in [1, 2, 3] { x > 0 }
}

test_every_over_nothing if {
	every x in [] { x > 0 }
}

test_every_fails_on_one if not all_positive([1, -1])

all_positive(xs) if {
	every x in xs { x > 0 }
}

test_every_with_key if {
	every k, v in {"a": "a", "b": "b"} { k == v }
}

test_in_array if 2 in [1, 2]

test_in_object_is_of_values if {
	"v" in {"k": "v"}
	not "k" in {"k": "v"}
}

test_in_with_key if {
	"k", "v" in {"k": "v"}
}

test_not_in if not 4 in {1, 2}

grade := "high" if {
	input.n > 10
} else := "middle" if {
	input.n > 5
} else := "low"

test_else_goes_on if {
	grade == "high" with input as {"n": 11}
	grade == "middle" with input as {"n": 6}
	grade == "low" with input as {"n": 1}
}

test_negation_of_undefined if not input.nothing.here with input as {}

names contains name if some name in input.names

names contains "always"

test_partial_set_is_a_union if names == {"always", "x"} with input as {"names": ["x"]}

ages[name] := age if some name, age in input.ages

test_partial_object if ages == {"a": 1} with input as {"ages": {"a": 1}}

nested.one.two := 3

test_reference_heads if nested == {"one": {"two": 3}}

test_with_replaces_part_of_the_input if input.a.b == 2 with input.a.b as 2

test_with_replaces_data if data.constructs.nothing == 1 with data.constructs.nothing as 1

test_with_replaces_a_function if count([1]) == 5 with count as 5

test_with_replaces_by_a_function if f(3) == 4 with f as more

more(x) := x + 1

test_destructuring if {
	[first, {"k": second}] := [1, {"k": 2}]
	first + second == 3
}

test_some_finds_all if {
	found := {i | some i; [7, 8, 7][i] == 7}
	found == {0, 2}
}

test_undefined_is_not_false if not [x | x := input.nothing][0] with input as {}
