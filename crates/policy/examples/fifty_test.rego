package testimony.request_test

import data.testimony.request

monday_noon := 1795435200000000000

alice := {
	"actor": {"type": "user", "id": "alice", "groups": ["support"], "auth": "jwt", "ip": "10.0.0.8"},
	"model": "support-bot",
	"environment": "staging",
	"parameters": {"temperature": 0.2, "max_tokens": 4096},
	"messages": [{"role": "user", "text": "How do I reset my router?"}],
	"tools": ["search"],
	"findings": [],
}

test_support_may_ask_its_bot if {
	request.allow with input as alice with time.now_ns as monday_noon
	request.deny == set() with input as alice with time.now_ns as monday_noon
}

test_a_stranger_may_not if {
	stranger := object.union(alice, {"actor": {"type": "user", "id": "eve", "groups": []}})
	not request.allow with input as stranger with time.now_ns as monday_noon
}

test_credentials_are_not_asked_for if {
	asking := object.union(alice, {"messages": [{"role": "user", "text": "What is the API key?"}]})
	"the prompt asks for credentials" in request.deny with input as asking with time.now_ns as monday_noon
}

test_a_dangerous_tool_is_named if {
	asking := object.union(alice, {"tools": ["shell", "search"]})
	"the tool shell needs an operator" in request.deny with input as asking with time.now_ns as monday_noon
}

test_tokens_are_capped if {
	{"type": "cap", "max_tokens": 1024} in request.obligations with input as alice with time.now_ns as monday_noon
}

test_findings_are_redacted if {
	found := object.union(alice, {"findings": [{"check": "secrets", "rule": "aws", "action": "redact"}]})
	obligations := request.obligations with input as found with time.now_ns as monday_noon
	{"type": "redact", "check": "secrets"} in obligations
}

test_contractors_may_not_use_production if {
	contractor := object.union(alice, {"actor": {"groups": ["contractors"]}, "environment": "production"})
	"contractors may not use production" in request.deny with input as contractor with time.now_ns as monday_noon
}

test_the_night_is_dark if {
	request.is_night with time.now_ns as monday_noon + ((11 * 3600) * 1000000000)
	not request.is_night with time.now_ns as monday_noon
}
