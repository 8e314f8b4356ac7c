# Fifty rules for requests: who may ask which model, with what, when, and what must be done to the call.
package testimony.request

default allow := false

# Who asks (8 rules).
is_user if input.actor.type == "user"

is_service if input.actor.type == "service"

is_support if "support" in input.actor.groups

is_engineer if "engineering" in input.actor.groups

is_contractor if "contractors" in input.actor.groups

is_operator if input.actor.role in {"operator", "admin"}

is_internal if startswith(input.actor.ip, "10.")

strongly_authenticated if input.actor.auth in {"jwt", "mtls"}

# Where and when (7 rules).
is_production if input.environment == "production"

is_staging if input.environment == "staging"

clock := time.clock(time.now_ns())

weekday := time.weekday(time.now_ns())

is_weekend if weekday in {"Saturday", "Sunday"}

is_night if clock[0] < 6

is_night if clock[0] >= 22

# What is asked for (9 rules).
models := {
	"support": {"support-bot", "gemma-3-270m"},
	"engineering": {"support-bot", "coder-7b", "gemma-3-270m"},
	"contractors": {"support-bot"},
}

model_known if {
	some group in input.actor.groups
	input.model in models[group]
}

prompt := concat("\n", [message.text | some message in input.messages; message.role == "user"])

prompt_length := count(prompt)

asks_for_secrets if regex.match(`(?i)\b(password|api[_ ]?key|private key)s?\b`, prompt)

asks_for_salaries if contains(lower(prompt), "salary")

temperature := object.get(input.parameters, "temperature", 1)

max_tokens := object.get(input.parameters, "max_tokens", 512)

dangerous_tools := {"shell", "browser", "payments"} & {tool | some tool in input.tools}

# What allows (4 rules).
allow if {
	is_user
	is_support
	model_known
}

allow if {
	is_user
	is_engineer
	model_known
}

allow if {
	is_service
	strongly_authenticated
	model_known
}

allow if is_operator

# What denies (14 rules).
deny contains "contractors may not use production" if {
	is_contractor
	is_production
}

deny contains "contractors may not ask at night" if {
	is_contractor
	is_night
}

deny contains "services ask from inside only" if {
	is_service
	not is_internal
}

deny contains "production needs a strong login" if {
	is_production
	not strongly_authenticated
}

deny contains "the prompt asks for credentials" if {
	asks_for_secrets
	not is_operator
}

deny contains "salaries are not for models" if asks_for_salaries

deny contains sprintf("the prompt has %d characters, more than 20000", [prompt_length]) if prompt_length > 20000

deny contains sprintf("the tool %s needs an operator", [tool]) if {
	some tool in dangerous_tools
	not is_operator
}

deny contains "the temperature is too high for support" if {
	is_support
	temperature > 1.5
}

deny contains "too many messages" if count(input.messages) > 200

deny contains sprintf("%s found %s", [finding.check, finding.rule]) if {
	some finding in input.findings
	finding.action == "block"
}

deny contains "the system prompt belongs to the route" if {
	some message in input.messages
	message.role == "system"
	is_contractor
}

deny contains "coder-7b is not for the weekend" if {
	input.model == "coder-7b"
	is_weekend
	not is_operator
}

deny contains "the parameters ask for logits" if input.parameters.logprobs == true

# Why (3 rules).
reasons contains sprintf("%s is in a group that may use %s", [input.actor.id, input.model]) if {
	is_user
	model_known
}

reasons contains "an operator may do everything" if is_operator

reasons contains "staging is for trying things" if is_staging

# What must be done (7 rules).
obligations contains {"type": "cap", "max_tokens": 1024} if max_tokens > 1024

obligations contains {"type": "cap", "max_tokens": 256} if is_contractor

obligations contains {"type": "redact", "check": finding.check} if {
	some finding in input.findings
	finding.action == "redact"
}

obligations contains {"type": "redact", "pattern": `\b\d{4}-\d{4}\b`} if is_support

obligations contains {"type": "route", "to": "small"} if {
	is_night
	is_staging
}

obligations contains {"type": "flag", "label": "weekend"} if is_weekend

obligations contains {"type": "require_header", "name": "x-ticket"} if {
	is_production
	is_support
}
