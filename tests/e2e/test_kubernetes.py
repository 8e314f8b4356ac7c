"""What an API server does with the settings of docs/ingest/kubernetes.md: which events it tells of, and how it sends them. None is here."""

import json
import re
import urllib.parse

import yaml
from conftest import documented, http, wait_for
from test_access import bearer, make
from test_doors import AUDIT
from test_rules import settings
from test_tls import authority, encrypted, trusting  # noqa: F401, two are fixtures

PAGE = "kubernetes.md"
LEVELS = ["None", "Metadata", "Request", "RequestResponse"]
STAGES = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"}


def flags():
    return dict(re.findall(r"--([a-z-]+)=(\S+)", documented(PAGE, "", "kube-apiserver")))


def settings_at(path):
    """The block that the page says to put there."""
    text = documented(PAGE, "yaml", f"# {path}\n")
    return yaml.safe_load(text)


def level(policy, event):
    """That of the first rule that fits, as API servers do it; no rule of the page has more than verbs."""
    for rule in policy["rules"]:
        assert set(rule) <= {"level", "verbs"} and rule["level"] in LEVELS
        if event["verb"] in rule.get("verbs", [event["verb"]]):
            return rule["level"]
    return "None"


def told(policy, event):
    """The event as it is sent under a policy, or nothing."""
    assert set(policy["omitStages"]) <= STAGES
    detail = level(policy, event)
    if detail == "None" or event["stage"] in policy["omitStages"]:
        return None
    bodies = {"Metadata": (), "Request": ("requestObject",), "RequestResponse": ("requestObject", "responseObject")}[detail]
    return {name: value for name, value in event.items() if name in bodies or not name.endswith("Object")} | {"level": detail}


def test_an_api_server_with_these_settings_delivers_what_changes_something(serve, scripted, encrypted, authority, tmp_path):  # noqa: F811
    given = flags()
    assert set(given) == {"audit-policy-file", "audit-webhook-config-file", "audit-webhook-batch-max-wait"}
    assert re.fullmatch(r"\d+(ms|s|m)", given["audit-webhook-batch-max-wait"])
    policy, webhook = settings_at(given["audit-policy-file"]), settings_at(given["audit-webhook-config-file"])
    assert (policy["apiVersion"], policy["kind"]) == ("audit.k8s.io/v1", "Policy") and (webhook["apiVersion"], webhook["kind"]) == ("v1", "Config")
    # As a kubeconfig is read: the context names the cluster and the user.
    [context] = [one["context"] for one in webhook["contexts"] if one["name"] == webhook["current-context"]]
    [cluster] = [one["cluster"] for one in webhook["clusters"] if one["name"] == context["cluster"]]
    [user] = [one["user"] for one in webhook["users"] if one["name"] == context["user"]]
    assert set(cluster) == {"server", "certificate-authority"} and set(user) == {"tokenFile"}

    plain = serve(scripted)
    secret, admin = make(plain, "cluster", "ingest")["secret"], make(plain, "root", "admin")["secret"]
    plain.stop()
    server, trusted = encrypted(), trusting(authority)
    address = urllib.parse.urlsplit(cluster["server"])
    assert address.scheme == urllib.parse.urlsplit(server.api).scheme == "https"
    # Of one that reads, one that writes, in two stages each.
    happened = [{**AUDIT, "auditID": verb, "verb": verb, "stage": stage} for verb in ("get", "patch") for stage in ("RequestReceived", "ResponseComplete")]
    items = [event for event in (told(policy, event) for event in happened) if event]
    assert [(event["auditID"], event["stage"], event["level"]) for event in items] == [("patch", "ResponseComplete", "Metadata")]
    body = json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items}, separators=(",", ":")).encode() + b"\n"
    # client-go adds how long it waits.
    url = f"{server.api}{address.path}?timeout=30s"
    headers = {"accept": "application/json, */*", "content-type": "application/json", "user-agent": "kube-apiserver/v1.31.0 (linux/amd64) kubernetes/9edcffc", **bearer(secret)}
    for expected in ("stored", "repeated"):
        status, _, text = http(url, body, headers, trusted)
        assert status == 200 and json.loads(text)[expected] == 1, text
    assert http(url, body, {**headers, "authorization": "Bearer tsm_nobody"}, trusted)[0] == 401
    query = json.dumps({"query": "SELECT kind, outcome, actor_id, attributes FROM records WHERE producer = 'kubernetes'"}).encode()
    status, _, text = http(f"{server.api}/api/v1/sql?format=jsonl", query, bearer(admin), trusted)
    [row] = [json.loads(line) for line in text.splitlines()]
    said = dict(row["attributes"])
    assert (row["kind"], row["outcome"], row["actor_id"], said["testimony.kubernetes.verb"]) == ("system", "completed", "alice@example.com", "patch")


def test_the_rotated_names_of_an_audit_log_fit_the_pattern(serve, scripted, tmp_path):
    """`--audit-log-path` and lumberjack's names for what it puts aside."""
    text = documented(PAGE, "toml", 'format = "kubernetes"')
    assert "/var/log/kubernetes/audit*.log" in text
    logs = tmp_path / "logs"
    logs.mkdir()
    for n, name in enumerate(("audit.log", "audit-2026-11-25T04-00-00.000.log")):
        (logs / name).write_text(json.dumps({**AUDIT, "auditID": str(n)}) + "\n")
    server = serve(scripted, *settings(tmp_path, text.replace("/var/log/kubernetes", str(logs))))
    query = "SELECT attributes['testimony.kubernetes.audit_id'] AS id FROM records WHERE producer = 'files'"
    wait_for(lambda: sorted(row["id"] for row in server.sql(query)) == ["0", "1"], 30)
