# Objects, sets, strings, sprintf, time, glob, regex, json.patch, numbers, walk, semver, net, encodings and aggregates, as in OPA's
# test folders objectunion, objectget, jsonpatch, jsonfilter, jsonremove, sets, union, intersection, sprintf, strings, trim, time,
# globmatch, regexmatch, numbersrange, walkbuiltin, semvercompare, netcidrcontains, base64builtins, hexbuiltins, aggregates and
# jsonschema; the cases are ours, the expected values those of the Rego reference.
package constructs.functions_test

test_object_union_goes_deep if object.union({"a": {"b": 1}, "c": 1}, {"a": {"d": 2}, "c": 2}) == {"a": {"b": 1, "d": 2}, "c": 2}

test_object_union_n if object.union_n([{"a": 1}, {"b": 2}, {"a": 3}]) == {"a": 3, "b": 2}

test_object_get_with_path if {
	object.get({"a": {"b": 1}}, ["a", "b"], 0) == 1
	object.get({"a": {"b": 1}}, ["a", "c"], 0) == 0
	object.get({}, "a", "x") == "x"
}

test_object_remove_filter_keys if {
	object.remove({"a": 1, "b": 2}, ["a"]) == {"b": 2}
	object.filter({"a": 1, "b": 2}, ["a"]) == {"a": 1}
	object.keys({"a": 1, "b": 2}) == {"a", "b"}
}

test_object_subset if object.subset({"a": {"b": [1, 2]}, "c": 1}, {"a": {"b": [1, 2]}})

test_json_patch if json.patch({"a": {"b": 1}}, [
	{"op": "add", "path": "/a/c", "value": 2},
	{"op": "remove", "path": "/a/b"},
	{"op": "replace", "path": "/a/c", "value": 3},
]) == {"a": {"c": 3}}

test_json_filter_and_remove if {
	json.filter({"a": {"b": 1, "c": 2}}, ["a/b"]) == {"a": {"b": 1}}
	json.remove({"a": {"b": 1, "c": 2}}, ["a/b"]) == {"a": {"c": 2}}
}

test_sets if {
	{1, 2} | {2, 3} == {1, 2, 3}
	{1, 2} & {2, 3} == {2}
	{1, 2} - {2, 3} == {1}
	union({{1}, {2}}) == {1, 2}
	intersection({{1, 2}, {2, 3}}) == {2}
}

test_arrays if {
	array.concat([1], [2]) == [1, 2]
	array.slice([1, 2, 3], 1, 3) == [2, 3]
	array.reverse([1, 2]) == [2, 1]
}

test_sprintf_of_texts_and_numbers if sprintf("%s has %d at %.1f", ["a", 3, 1.5]) == "a has 3 at 1.5"

test_sprintf_of_hexadecimal if sprintf("%x %%", [255]) == "ff %"

test_sprintf_of_values if sprintf("%v", [{"k": [1]}]) == "{\"k\": [1]}"

test_strings if {
	concat("-", ["a", "b"]) == "a-b"
	split("a,b,", ",") == ["a", "b", ""]
	replace("aXbX", "X", "--") == "a--b--"
	strings.replace_n({"a": "1", "b": "2"}, "abc") == "12c"
	substring("hello", 1, 3) == "ell"
	substring("hello", 2, -1) == "llo"
	trim("--a--", "-") == "a"
	trim_prefix("abc", "ab") == "c"
	trim_space("  a \n") == "a"
	upper("aß") == "ASS"
	indexof("hello", "l") == 2
	indexof_n("hello", "l") == [2, 3]
	strings.reverse("abc") == "cba"
	strings.any_prefix_match("abc", {"x", "ab"})
	strings.count("cheese", "e") == 3
	format_int(10, 2) == "1010"
}

test_time if {
	time.parse_rfc3339_ns("1970-01-01T00:00:01Z") == 1000000000
	time.clock(0) == [0, 0, 0]
	time.date(86400000000000) == [1970, 1, 2]
	time.weekday(0) == "Thursday"
	time.add_date(0, 1, 0, 1) == 31622400000000000
	time.parse_duration_ns("1h30m") == 5400000000000
	time.diff(86400000000000, 0) == [0, 0, 1, 0, 0, 0]
	time.clock([0, "Europe/Berlin"]) == [1, 0, 0]
}

test_glob if {
	glob.match("*.example.com", ["."], "api.example.com")
	not glob.match("*.example.com", ["."], "a.b.example.com")
	glob.match("**.example.com", ["."], "a.b.example.com")
	glob.match("{a,b}?", [], "bx")
}

test_regex if {
	regex.match(`^\d+$`, "123")
	not regex.match(`^\d+$`, "12a")
	regex.replace("foo bar", `o+`, "0") == "f0 bar"
	regex.find_n(`a.`, "abac", -1) == ["ab", "ac"]
	regex.split(`,\s*`, "a, b,c") == ["a", "b", "c"]
	not regex.is_valid(`(`)
}

test_numbers if {
	numbers.range(3, 1) == [3, 2, 1]
	numbers.range_step(1, 10, 4) == [1, 5, 9]
	1 / 4 == 0.25
	5 % 3 == 2
	abs(-3) == 3
	ceil(1.2) == 2
	floor(-1.2) == -2
	round(2.5) == 3
	0.1 + 0.2 != 1
	100000000000000000000 + 1 == 100000000000000000001
	bits.lsh(1, 4) == 16
	to_number("1.5") == 1.5
}

test_walk_visits_everything if {
	paths := {path | walk({"a": [1, {"b": 2}]}, [path, _])}
	paths == {[], ["a"], ["a", 0], ["a", 1], ["a", 1, "b"]}
}

test_reachable if graph.reachable({"a": ["b"], "b": ["a"], "c": []}, {"a"}) == {"a", "b"}

test_aggregates if {
	count({"a": 1, "b": 2}) == 2
	sum([1, 2, 3]) == 6
	product([2, 3]) == 6
	max([1, "a", [0]]) == [0]
	min({3, 1, 2}) == 1
	sort([3, 1, 2]) == [1, 2, 3]
}

test_encodings if {
	base64.encode("hello") == "aGVsbG8="
	base64url.encode_no_pad("??>") == "Pz8-"
	base64.decode("aGVsbG8=") == "hello"
	hex.encode("az") == "617a"
	json.marshal({"b": 1, "a": [true]}) == `{"a":[true],"b":1}`
	json.unmarshal(`{"a": 1}`) == {"a": 1}
	urlquery.encode("a b&c") == "a+b%26c"
	units.parse_bytes("1KiB") == 1024
}

test_types if {
	type_name([]) == "array"
	is_set(set())
	is_object({})
	is_null(null)
}

test_semver if {
	semver.compare("1.2.0", "1.10.0") == -1
	semver.is_valid("1.0.0-rc.1")
}

test_net if {
	net.cidr_contains("10.0.0.0/8", "10.1.2.3")
	not net.cidr_contains("10.0.0.0/8", "11.0.0.1")
	count(net.cidr_expand("10.0.0.0/30")) == 4
}

test_json_schema if {
	[valid, _] := json.match_schema({"a": 1}, {"type": "object", "required": ["a"]})
	valid
	[invalid, _] := json.match_schema({"b": 1}, {"type": "object", "required": ["a"]})
	not invalid
}

test_output_arguments if {
	split("a,b", ",", parts)
	parts == ["a", "b"]
}

test_occurrences_are_counted_without_overlapping if {
	strings.count("aaaa", "aa") == 2
	strings.count("ab", "") == 3
	strings.count("", "") == 1
	strings.count("", "a") == 0
	strings.count("äöä", "ä") == 2
	strings.count("äöä", "") == 4
}

test_what_was_put_in_is_not_replaced_again if {
	strings.replace_n({"cat": "dog", "dog": "cat"}, "a cat and a dog") == "a dog and a cat"
	strings.replace_n({"a": "1", "ab": "2"}, "abba") == "1bb1"
	strings.replace_n({"b": "", "ab": "x"}, "aabb") == "ax"
	strings.replace_n({"": "-"}, "äb") == "-ä-b-"
	strings.replace_n({"": "-", "ä": "a"}, "äb") == "-a-b-"
	strings.replace_n({}, "ab") == "ab"
}

test_what_is_no_text_is_not_json if {
	json.is_valid("[1, {}]")
	not json.is_valid("[1,")
	not json.is_valid("")
	not json.is_valid(1)
}

person := {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}

test_a_document_may_be_given_to_a_schema_as_text if {
	json.match_schema({"age": 5}, person) == [true, []]
	json.match_schema(`{"age": 5}`, person) == [true, []]
	json.match_schema(`{"age": "five"}`, person)[0] == false
	json.match_schema(`{"age": "five"}`, {"properties": person.properties})[0] == false
	json.match_schema("5", {"type": "integer"})[0]
	[false, [first]] := json.match_schema({}, person)
	contains(first.desc, "age")
	first.error == first.desc
}
