//! The machine beside the interpreter: whatever the machine answers, the interpreter answers too.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::{Actor, Decision, Input, Limits, Message, Output, Point, Policy, Time};

fn load(rules: &str) -> Policy {
    let text = format!("package testimony.request\n{rules}\n");
    Policy::from_files(&[("request.rego".to_owned(), text.into_bytes())], &Limits::patient()).unwrap()
}

fn inputs() -> Vec<Input> {
    let message = |role: &str, text: &str| Message { role: role.to_owned(), text: text.to_owned() };
    let alice = Input {
        actor: Actor {
            kind: "user".to_owned(),
            id: "alice".to_owned(),
            groups: vec!["support".to_owned(), "everyone".to_owned()],
            ip: Some("10.1.2.3".to_owned()),
            ..Actor::default()
        },
        model: Some("gemma-3".to_owned()),
        parameters:
            serde_json::json!({"n": 7, "max_tokens": 4096, "stop": ["a", "b"], "nested": {"deep": [1, {"x": null}]}})
                .as_object()
                .cloned()
                .unwrap(),
        messages: vec![message("system", "You help."), message("user", "Hello, my card is 4242")],
        tools: vec!["search".to_owned()],
        time: Time { rfc3339: "2026-11-23T09:14:02Z".to_owned(), unix_ns: 1_795_425_242_000_000_000 },
        output: Some(Output { text: "Hello".to_owned(), finish_reasons: vec!["stop".to_owned()] }),
        ..Input::default()
    };
    let bob = Input {
        actor: Actor { kind: "service".to_owned(), id: "bob".to_owned(), ..Actor::default() },
        parameters: serde_json::json!({"n": -1.5}).as_object().cloned().unwrap(),
        ..Input::default()
    };
    vec![alice, bob, Input::default()]
}

/// What the policy says, after seeing that the interpreter says the same.
fn compared(policy: &Policy, input: &Input) -> Decision {
    let decision = policy.decide(Point::Request, input);
    let interpreted = policy.interpret(Point::Request, input, input.to_value());
    assert_eq!(decision, interpreted, "{input:?}");
    decision
}

/// Rules of every construct, all of which the machine takes.
const CONSTRUCTS: &[&str] = &[
    "default allow := false\nallow if input.actor.id == \"alice\"",
    "allow if input.actor.id == \"alice\"\nallow if input.actor.kind == \"service\"",
    "allow if not input.actor.id == \"alice\"",
    "allow if not input.parameters.missing",
    "allow if input.parameters.missing.deeper == 1",
    "allow if { some group in input.actor.groups; group == \"support\" }",
    "allow if \"support\" in input.actor.groups",
    "allow if { some at, group in input.actor.groups; at == 1; group == \"everyone\" }",
    "allow if { some name; input.parameters[name] == 7 }",
    "allow if every message in input.messages { message.role != \"tool\" }",
    "allow if every at, message in input.messages { at < 1 }",
    "allow if count([m | some m in input.messages; m.role == \"user\"]) == 1",
    "allow if count({m.role | some m in input.messages}) == 2",
    "allow := input.parameters.n > 5",
    "allow := true if input.parameters.n > 5 else := false if input.parameters.n > 0 else := true",
    "level := 3 if input.actor.id == \"alice\" else := 1\nallow if level > 2",
    "f(x, [y, z]) := x + y + z\nallow if f(1, [2, 3]) == 6",
    "names contains name if some name in input.actor.groups\nallow if names == {\"support\", \"everyone\"}",
    "names contains name if some name in input.actor.groups\nallow if \"support\" in names",
    "allow if { [first, _] := input.actor.groups; first == \"support\" }",
    "allow if { {\"id\": id} = {\"id\": input.actor.id}; id == \"bob\" }",
    "allow if { x := input.parameters.n; y := x % 2; y == 1 }",
    "allow if input.parameters.n + 1 == 8\ndeny contains sprintf(\"%d\", [input.parameters.n]) if input.parameters.n > 6",
    "allow if {1, 2} | {3} == {1, 2, 3}\nallow if {1, 2} & {2} == {5}",
    "allow if {1, 2} - {2} == {1}",
    "allow if contains(lower(input.messages[1].text), \"card\")",
    "allow if regex.match(`\\d{4}`, input.messages[_].text)",
    "allow if glob.match(\"gemma-*\", [], input.model)",
    "allow if net.cidr_contains(\"10.0.0.0/8\", input.actor.ip)",
    "allow if time.clock(time.now_ns()) == [9, 14, 2]",
    "allow if time.weekday(input.time.unix_ns) == \"Monday\"",
    "allow if object.get(input.parameters, [\"nested\", \"deep\", 0], 0) == 1",
    "allow if object.get(input, \"model\", \"none\") == \"none\"",
    "allow if json.unmarshal(json.marshal(input.parameters)) == input.parameters",
    "allow if crypto.sha256(input.actor.id) == \"81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9\"",
    "allow if split(input.messages[0].text, \" \") == [\"You\", \"help.\"]",
    "allow if { split(input.messages[0].text, \" \", parts); parts[0] == \"You\" }",
    "allow if concat(\",\", sort([x | some x in input.actor.groups])) == \"everyone,support\"",
    "allow if sum([n | some n in [1, 2, input.parameters.n]]) == 10",
    "allow if max(numbers.range(1, 3)) == 3",
    "allow if array.concat([1], [2]) == [1, 2]",
    "allow if is_string(input.model)",
    "allow if to_number(\"7\") == input.parameters.n",
    "allow if type_name(input.parameters.stop) == \"array\"",
    "allow if input.parameters.nested.deep[1].x == null",
    "allow if replace(input.actor.id, \"a\", \"b\") == \"blice\"",
    "allow if strings.any_prefix_match(input.model, [\"gem\", \"lla\"])",
    "allow if semver.compare(\"1.2.3\", \"1.2.4\") == -1",
    "allow if base64.decode(base64.encode(input.actor.id)) == input.actor.id",
    "obligations contains {\"type\": \"cap\", \"max_tokens\": 1024} if input.parameters.max_tokens > 1024\nallow := true",
    "obligations := [{\"type\": \"flag\", \"label\": id} | some id in [input.actor.id]; id != \"\"]\nallow := true",
    "reasons contains reason if { some m in input.messages; reason := concat(\": \", [m.role, m.text]) }\nallow := true",
    "allow if { x := {\"a\": {\"b\": [1, 2, 3]}}; x.a.b[i] == 2; i == 1 }",
    "allow if { some x in [1, 2, 3]; some y in [3, 4]; x == y }",
    "allow if count([1 | some x in [1, 2]; not x == 2]) == 1",
    "allow if not any_tool\nany_tool if some _ in input.tools",
    "allow if data.testimony.request.helper == 1\nhelper := 1",
    "allow if data.testimony.request[\"helper\"] == 1\nhelper := 1",
    "allow if \"x\" == input.actor[\"id\"]\nallow if { input.actor[key] == \"bob\"; key == \"id\" }",
    "allow if object.union({\"a\": 1}, {\"b\": 2}) == {\"a\": 1, \"b\": 2}",
    "allow if union({{1}, {2}}) == {1, 2}",
    "allow if to_number(input.actor.id) > 0",
    "allow if not to_number(input.actor.id)",
    "allow := true\nobligations contains {\"type\": \"explode\"}",
    "allow if 1 / input.parameters.zero == 1\nallow if input.parameters.n / 0 == 1",
    "allow if input.messages[0].role == \"system\"\ndeny contains m.text if some m in input.messages",
];

/// Rules that the machine is not given.
const INTERPRETED: &[&str] = &[
    "default f(_) := 9\nf(x) := 1 if x == \"alice\"\nallow if f(input.actor.id) == 9",
    "a.b.c := 1 if input.actor.id == \"alice\"\na.b.d := 2\nallow if a.b == {\"c\": 1, \"d\": 2}",
    "allow if { walk(input.parameters, [path, value]); value == null; count(path) > 2 }",
    "allow if {m.role: m.text | some m in input.messages}.system == \"You help.\"",
    "f(x) := x * 2 if x > 0\nf(x) := 0 if x <= 0\nallow if f(input.parameters.n) > 10",
    "f(\"alice\") := 1\nf(\"bob\") := 2\nallow if f(input.actor.id) == 2",
    "limits[name] := size if some name, size in {\"alice\": 1, \"bob\": 2}\nallow if limits[input.actor.id] == 2",
    "limits[name] := size if { some name in input.actor.groups; size := count(name) }\nallow if limits.support == 7",
    "a.b[x] := y if { some x in [1, 2]; y := x + 1 }\nallow if a.b[2] == 3",
    "allow := true if input.actor.id == \"alice\"\nallow := false if input.parameters.n == 7",
    "allow if level > 3\nlevel := size if { some group in input.actor.groups; size := count(group) }",
    "allow if a.b == 1\na.b := 1\na.b.c := 2",
    "allow if count([1 | input.model == \"x\"]) == 0",
    "allow if { some m in input.messages; count([g | some g in input.actor.groups; g == m.role]) == 0 }",
    "allow if count([1 | some m in input.messages; count([g | some g in m]) == 2]) == 2",
    "allow if every m in input.messages { count([1 | some g in input.actor.groups; g != m.role]) == 2 }",
    "reasons contains concat(\"\", [m.text | some g in [1, 2]]) if some m in input.messages\nallow := true",
    "allow if count(a) == 2\na.x := 1\na.y := 2",
    "allow if { some key in [\"x\", \"y\"]; a[key] == 2 }\na.x := 1\na.y := 2",
];

#[test]
fn what_is_compiled_means_what_the_interpreter_means() {
    let mut allowed = 0;
    for rules in CONSTRUCTS {
        let policy = load(rules);
        assert!(policy.machine.is_some(), "not compiled: {rules}");
        for input in inputs() {
            allowed += usize::from(compared(&policy, &input).allow);
        }
    }
    // Rules that never hold would compare nothing.
    assert!(allowed > CONSTRUCTS.len() / 2, "{allowed}");
}

#[test]
fn what_the_machine_would_take_for_something_else_is_interpreted() {
    for rules in INTERPRETED {
        let policy = load(rules);
        assert!(policy.machine.is_none(), "compiled: {rules}");
        inputs().iter().for_each(|input| drop(compared(&policy, input)));
    }
}

#[test]
fn the_examples_are_compiled() {
    for text in [include_str!("../../examples/fifty.rego")] {
        let policy = Policy::from_files(&[("a.rego".to_owned(), text.into())], &Limits::patient()).unwrap();
        assert!(policy.machine.is_some());
        for input in inputs() {
            compared(&policy, &input);
        }
    }
}

#[test]
fn what_cannot_be_compiled_is_interpreted() {
    for rules in [
        "allow if helper with input.actor.id as \"carol\"\nhelper if input.actor.id == \"carol\"",
        "allow if print(\"x\")",
    ] {
        let policy = load(rules);
        assert!(policy.machine.is_none(), "{rules}");
        assert!(policy.decide(Point::Request, &inputs()[0]).allow, "{rules}");
    }
}

#[test]
fn a_rule_of_a_functions_name_is_the_one_that_is_called() {
    let rules = "lower(x) := \"mine\"\nallow if lower(input.actor.id) == \"mine\"";
    let policy = load(rules);
    assert!(policy.decide(Point::Request, &inputs()[0]).allow);
    let files = [
        ("lib.rego".to_owned(), b"package lib\nsha256(x) := \"mine\"".to_vec()),
        (
            "request.rego".to_owned(),
            b"package testimony.request\nimport data.lib as crypto\nallow if crypto.sha256(\"x\") == \"mine\"".to_vec(),
        ),
    ];
    let policy = Policy::from_files(&files, &Limits::patient()).unwrap();
    assert!(policy.decide(Point::Request, &inputs()[0]).allow);
}

#[test]
fn instructions_are_limited() {
    let rules =
        "package testimony.request\nr := numbers.range(1, 100)\nallow if { some a in r; some b in r; a + b < 0 }";
    let limits = Limits { instructions_max: 5_000, ..Limits::patient() };
    let policy = Policy::from_files(&[("a.rego".to_owned(), rules.into())], &limits).unwrap();
    let error = policy.decide(Point::Request, &inputs()[0]).error.unwrap();
    assert_eq!(error, "the decision takes more than the limit of 5000 instructions");
    // The machine is good for the next question.
    let error = policy.decide(Point::Request, &inputs()[1]).error.unwrap();
    assert_eq!(error, "the decision takes more than the limit of 5000 instructions");
}

#[test]
fn the_deepest_chain_that_is_compiled_can_be_evaluated() {
    let rules = |length: usize| -> String {
        let rules: String =
            (1..=length).map(|n| format!("r{n} if {{ [x | some x in [1]; r{}]; true }}\n", n - 1)).collect();
        format!("r0 := true\n{rules}allow if r{length}")
    };
    let functions = |length: usize| -> String {
        let rules: String = (1..=length).map(|n| format!("f{n}(x) := f{}(x) + 1\n", n - 1)).collect();
        format!("f0(x) := x\n{rules}allow if f{length}(1) > 0")
    };
    for chain in [&rules as &dyn Fn(usize) -> String, &functions] {
        let compiled = (1..40).take_while(|length| load(&chain(*length)).machine.is_some()).last().unwrap();
        assert!((5..39).contains(&compiled), "{compiled}");
        // The thread of a test has 2 MiB of stack, as those of a server.
        let decision = compared(&load(&chain(compiled)), &inputs()[0]);
        assert!(decision.allow, "{decision:?}");
    }
}

/// A condition of random shape, over names that are there, missing, or of another type.
fn condition() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("input.actor.id"),
        Just("input.actor.groups[_]"),
        Just("input.actor.missing"),
        Just("input.parameters.n"),
        Just("input.parameters.stop[0]"),
        Just("input.messages[_].role"),
        Just("input.model"),
        Just("count(input.messages)"),
        Just("helper"),
        Just("names"),
        Just("double(input.parameters.n)"),
        Just("level"),
        Just("input.parameters.n + 7"),
        Just("14 / input.parameters.n"),
        Just("1 - input.parameters.missing"),
        Just("input.parameters.n % 5"),
        Just("input.actor.id * 2"),
        Just("count(names & {\"support\"})"),
        Just("(names | {\"x\"}) - {\"x\"}"),
        Just("lower(input.model)"),
        Just("to_number(input.parameters.stop[0])"),
        Just("object.get(input.parameters, \"n\", 2)"),
        Just("contains(input.model, \"gem\")"),
        Just("[m.role | some m in input.messages; m.text != \"\"][1]"),
        Just("count({m.role | some m in input.messages})"),
        Just("input.tools"),
        Just("input.messages[0]"),
    ];
    let value = prop_oneof![
        Just("\"alice\""),
        Just("\"user\""),
        Just("7"),
        Just("14"),
        Just("2"),
        Just("null"),
        Just("{\"support\"}"),
        Just("[]"),
        Just("true"),
        Just("[\"search\"]"),
        Just("{\"role\": \"system\", \"text\": \"You help.\"}"),
        Just("input.parameters.n"),
    ];
    let operator = prop_oneof![Just("=="), Just("!="), Just("<"), Just(">=")];
    let leaf = (path, operator, value).prop_map(|(path, operator, value)| format!("{path} {operator} {value}"));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| {
                // A negation may not bind `_`.
                if c.contains('_')
                    || c.starts_with("not ")
                    || c.contains(';')
                    || c.contains("every")
                    || c.contains("some")
                {
                    c
                } else {
                    format!("not {c}")
                }
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}; {b}")),
            inner.clone().prop_map(|c| format!("count([1 | {c}]) > 0")),
            inner.clone().prop_map(|c| format!("count({{x | some x in input.actor.groups; {c}}}) == 2")),
            inner.clone().prop_map(|c| format!("every m in input.messages {{ m.text != \"\"; {c} }}")),
            inner.prop_map(|c| format!("some g in input.actor.groups; g != \"x\"; {c}")),
        ]
    })
}

/// A policy of random rules; nothing where they are no policy.
fn random_policy((allow, deny, helper, other): &(String, String, String, String)) -> Option<Policy> {
    // What stands within the helpers may not ask them.
    let plain = |text: &str| text.replace("helper", "input.x").replace("names", "input.y").replace("level", "input.z");
    let text = format!(
        "package testimony.request\nhelper := true if {{ {} }}\nhelper := true if {{ {} }}\n\
         names contains n if {{ some n in input.actor.groups; n != \"everyone\" }}\ndouble(x) := x * 2\n\
         level := 7 if input.actor.id == \"alice\" else := 2 if input.model else := \"user\"\n\
         allow if {{ {allow} }}\ndeny contains \"no\" if {{ {deny} }}\n",
        plain(helper),
        plain(other),
    );
    Policy::from_files(&[("request.rego".to_owned(), text.into_bytes())], &Limits::patient()).ok()
}

#[test]
fn random_rules_mean_what_the_interpreter_means() {
    let mut runner = TestRunner::default();
    let loaded = for_random_policies(&mut runner, |policy| {
        inputs().iter().for_each(|input| drop(compared(policy, input)));
    });
    assert!(loaded * 2 > runner.config().cases, "only {loaded} were policies");
}

/// Otherwise the machine would hardly be compared. Always the same rules, and so many that their share is near that of all: of 256 it is a
/// quarter by chance only.
#[test]
fn a_good_part_of_random_rules_is_compiled() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner =
        TestRunner::new_with_rng(Config { cases: 1_024, failure_persistence: None, ..Config::default() }, rng);
    let compiled = Cell::new(0);
    let loaded = for_random_policies(&mut runner, |policy| {
        compiled.set(compiled.get() + u32::from(policy.machine.is_some()));
    });
    assert!(compiled.get() * 4 > loaded, "only {} of {loaded} were compiled", compiled.get());
}

/// Does something with policies of random rules; how many there were.
fn for_random_policies(runner: &mut TestRunner, look: impl Fn(&Policy)) -> u32 {
    let loaded = Cell::new(0);
    let rules = (condition(), condition(), condition(), condition());
    let result = runner.run(&rules, |rules| {
        if let Some(policy) = random_policy(&rules) {
            loaded.set(loaded.get() + 1);
            look(&policy);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    loaded.get()
}
