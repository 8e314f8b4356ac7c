"""Writes cases.jsonl: short texts with what is to be found in them, in bytes. Everything in it is made up: tokens come from a seeded
generator, numbers get their right check digits here, by code that shares nothing with the crate's."""

import base64, json, random, uuid, pathlib

r = random.Random(20261124)
ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
HEX = "0123456789abcdef"
CAPS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
B32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
URL = ALNUM + "-_"
cases = []

def noise(alphabet, n):
    return "".join(r.choice(alphabet) for _ in range(n))

def digits(n):
    return noise("0123456789", n)

FRAMES = ["{}", "Here it is: {}", "please use {} for the deployment", "My colleague sent me «{}» yesterday.", '{{"value": "{}"}}',
          "export VALUE={}\nmake run", "Größe prüfen: {} – danke!", "1. first\n2. {}\n3. last", "curl -H 'X-Value: {}' https://api.example.org/v1",
          "| name | {} |"]

def add(rule, value, frame=None, before="", after=""):
    frame = frame or r.choice(FRAMES)
    text = frame.replace("{}", "\0", 1).replace("{{", "{").replace("}}", "}")
    head, tail = text.split("\0")
    head += before
    start = len(head.encode())
    cases.append({"text": head + value + after + tail, "expect": [{"rule": rule, "start": start, "end": start + len(value.encode())}]})

def none(*texts):
    for text in texts:
        cases.append({"text": text, "expect": []})

# --- secrets -------------------------------------------------------------------------------------------------------------------
TOKENS = {
    "aws-access-key": lambda: r.choice(["AKIA", "ASIA"]) + noise(B32, 16),
    "github-token": lambda: r.choice(["ghp_", "gho_", "ghs_"]) + noise(ALNUM, 36),
    "github-fine-grained-token": lambda: "github_pat_" + noise(ALNUM, 22) + "_" + noise(ALNUM, 59),
    "gitlab-token": lambda: "glpat-" + noise(URL, 20),
    "slack-token": lambda: "xoxb-" + digits(12) + "-" + digits(13) + "-" + noise(ALNUM, 24),
    "stripe-key": lambda: "sk_live_" + noise(ALNUM, r.choice([24, 99])),
    "openai-key": lambda: "sk-proj-" + noise(URL, 124) + noise(ALNUM, 32),
    "openai-legacy-key": lambda: "sk-" + noise(ALNUM, 20) + "T3BlbkFJ" + noise(ALNUM, 20),
    "anthropic-key": lambda: "sk-ant-api03-" + noise(URL, 92) + "AA",
    "google-api-key": lambda: "AIza" + noise(URL, 35),
    "npm-token": lambda: "npm_" + noise(ALNUM, 36),
    "pypi-token": lambda: "pypi-AgEIcHlwaS5vcmc" + noise(ALNUM, 130),
    "sendgrid-key": lambda: "SG." + noise(URL, 22) + "." + noise(URL, 43),
    "twilio-key": lambda: "SK" + noise(HEX, 32),
    "huggingface-token": lambda: "hf_" + noise(ALNUM, 34),
    "digitalocean-token": lambda: "dop_v1_" + noise(HEX, 64),
    "shopify-token": lambda: "shpat_" + noise(HEX, 32),
    "telegram-bot-token": lambda: digits(9).replace("0", "7") + ":AA" + noise(ALNUM, 33),
    "jwt": lambda: ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in
                            ['{"alg":"HS256","typ":"JWT"}', json.dumps({"sub": digits(6), "iat": 1700000000})]) + "." + noise(ALNUM, 43),
    "hashicorp-vault-token": lambda: "hvs." + noise(ALNUM, 90),
    "groq-key": lambda: "gsk_" + noise(ALNUM, 52),
    "new-relic-key": lambda: "NRAK-" + noise(CAPS, 27),
    "linear-key": lambda: "lin_api_" + noise(ALNUM, 40),
    "mailgun-key": lambda: "key-" + noise(HEX, 32),
    "private-key": lambda: "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(noise(ALNUM + "+/", 64) for _ in range(6)) + "\n-----END RSA PRIVATE KEY-----",
}
for name, make in TOKENS.items():
    for _ in range(4):
        add(name, make())
for _ in range(3):
    add("discord-webhook", "discord.com/api/webhooks/" + digits(18) + "/" + noise(ALNUM, 68), "post to https://{} now")
    add("slack-webhook", "hooks.slack.com/services/T" + noise(CAPS, 8) + "/B" + noise(CAPS, 8) + "/" + noise(ALNUM, 24), "post to https://{} now")
    add("bearer-token", noise(ALNUM, 40), "curl -H 'Authorization: Bearer {}' https://api.example.org")
    add("azure-storage-key", noise(ALNUM + "+/", 86) + "==", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};EndpointSuffix=core.windows.net")
    add("aws-secret-key", noise(ALNUM + "+/", 39) + "Q", "aws_secret_access_key = {}\nregion = eu-central-1")
    add("url-password", noise(ALNUM, 12), "DATABASE_URL=postgres://app:{}@db.internal:5432/app")
for key in ["api_key", "apiKey", "SECRET_KEY", "client_secret", "auth_token", "access_token", "X-Api-Key"]:
    for form in ['{k} = "{}"', '"{k}": "{}"', "{k}={}", "{k}: {}", "const {k} = '{}';"]:
        add("generic-secret", noise(ALNUM, 30) + "7k", form.replace("{k}", key))
for password in ["h7Kq2mZw9", "Tr0ub4dor&3", "S0mmer!2026x", "pa55w0rd!Long"]:
    add("generic-secret", password, "the password: {} is for the test system")
# Known to be hard: without a digit, or in words.
add("generic-secret", "correcthorsebattery", "password: {}")
add("generic-secret", "kIdjwPqLmZxVbNtRwEaS", "api_key = {}")
add("generic-secret", "b7Xq9LmPz2", "my password is {}")

# --- personal data ---------------------------------------------------------------------------------------------------------------
def luhn(body):
    total = sum((d * 2 - 9 if d * 2 > 9 else d * 2) if i % 2 == 0 else d for i, d in enumerate(map(int, reversed(body))))
    return body + str(-total % 10)

def iban(country, bban):
    number = "".join(str(int(c, 36)) for c in bban + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{bban}"

def grouped(text, n=4, sep=" "):
    return sep.join(text[i:i + n] for i in range(0, len(text), n))

def mod11_10(body):
    p = 10
    for d in map(int, body):
        s = (d + p) % 10 or 10
        p = s * 2 % 11
    return body + str((11 - p) % 10)

for name in ["ada.lovelace", "bob+news", "c_d", "Eve.O'Hara", "info", "x1"]:
    for host in ["example.org", "mail.example.co.uk", "uni-test.example"]:
        add("e-mail", f"{name}@{host}")
for phone in ["+49 170 1234567", "+14155550123", "+44 20 7946 0958", "+33 6 12 34 56 78", "+41 (0)44 668 18 00", "+1 (555) 010-9999", "+81-3-1234-5678", "+55 11 91234-5678"]:
    for _ in range(2):
        add("phone", phone)
for country, n in [("DE", 18), ("NL", 0), ("GB", 0), ("FR", 23), ("ES", 20), ("CH", 17), ("AT", 16)]:
    for sep in [True, False]:
        bban = {"NL": "ABNA" + digits(10), "GB": "WEST" + digits(14)}.get(country) or digits(n)
        value = iban(country, bban)
        add("iban", grouped(value) if sep else value)
for prefix, n in [("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("3530", 16), ("36", 14)]:
    value = luhn(prefix + digits(n - 1 - len(prefix)))
    add("payment-card", value)
    if n == 16:
        add("payment-card", grouped(value))
        add("payment-card", grouped(value, sep="-"))
    if n == 15:
        add("payment-card", f"{value[:4]} {value[4:10]} {value[10:]}")
for ssn in ["219-09-9998", "536-22-8726", "401-37-1265"]:
    add("us-ssn", ssn)
add("us-ssn", "536228726", "my social security number is {}")
for body in ["8609574271", "4703689281", "6529970489"]:
    add("de-steuer-id", mod11_10(body), "Meine Steuer-ID ist {}.")
for bsn in ["111222333", "123456782"]:
    add("nl-bsn", bsn, "mijn BSN is {}")
for n in [12345678, 47115830, 50998211]:
    add("es-dni", f"{n}{'TRWAGMYFPDXBNJZSQVHLCKE'[n % 23]}")
    add("es-nie", f"X{n % 10**7:07d}{'TRWAGMYFPDXBNJZSQVHLCKE'[n % 10**7 % 23]}")
for body in ["2550814168025", "1850578006084", "1991175123456"]:
    key = f"{97 - int(body) % 97:02d}"
    add("fr-nir", body + key)
    add("fr-nir", f"{body[0]} {body[1:3]} {body[3:5]} {body[5:7]} {body[7:10]} {body[10:]} {key}")
for cf in ["RSSMRA85T10A562S", "MRTMTT91D08F205J"]:
    add("it-codice-fiscale", cf)
for body in ["4405140135", "0207080362", "9001011234"]:
    add("pl-pesel", body + str(-sum(int(d) * w for d, w in zip(body, [1, 3, 7, 9] * 3)) % 10), "PESEL: {}")
for body in ["529982247", "111444777", "390533447"]:
    full = body
    for start in (10, 11):
        full += str(sum(int(d) * w for d, w in zip(full, range(start, 1, -1))) * 10 % 11 % 10)
    add("br-cpf", f"{full[:3]}.{full[3:6]}.{full[6:9]}-{full[9:]}")
    add("br-cpf", full, "o CPF dele é {}")
for body in ["811218987", "640823323", "900101123"]:
    value = luhn(body)
    add("se-personnummer", value[:6] + "-" + value[6:])
for nino in ["AB123456C", "CE 12 34 56 A", "JG103759A"]:
    add("uk-nino", nino)
for body in ["756921707698", "756123456789"]:
    check = -sum(int(d) * w for d, w in zip(body, [1, 3] * 6)) % 10
    value = body + str(check)
    add("ch-ahv", f"{value[:3]}.{value[3:7]}.{value[7:11]}.{value[11:]}")
    add("ch-ahv", value)
add("be-rijksregister", "85.07.30-033.28")

# --- hard negatives ------------------------------------------------------------------------------------------------------------
for _ in range(12):
    none(f"request {uuid.UUID(int=r.getrandbits(128), version=4)} failed", f"commit {noise(HEX, 40)}", f"fixed in {noise(HEX, 7)}",
         f"sha256:{noise(HEX, 64)}", f"order no. {digits(10)}", f"Bestellnummer {digits(8)}", f"tracking 1Z{noise(CAPS, 16)}",
         f"build 2026-11-24T09:14:{r.randrange(10, 60)}.{digits(6)}Z", f"at 17{digits(8)} and 17{digits(11)} ms",
         f"ISBN 978-3-16-{digits(6)}-{digits(1)}", f"version {r.randrange(9)}.{r.randrange(99)}.{r.randrange(999)}-rc{r.randrange(9)}",
         f"192.168.{r.randrange(255)}.{r.randrange(255)}:{r.randrange(1024, 65535)}", f"invoice {r.randrange(2020, 2027)}-{digits(6)}",
         f"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA{noise(ALNUM + '+/', 120)}", f"part no. {noise(CAPS, 4)}-{digits(5)}-{noise(CAPS, 2)}",
         f"article 40{digits(11)}", f"serial {noise(CAPS, 12)}", f"ids: {digits(9)}, {digits(9)}, {digits(11)}", f"ref {digits(16)}")
none("AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "api_key = YOUR_API_KEY_HERE_12345",
     "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "sk-XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "password: ********", "token: ${GITHUB_TOKEN}",
     "max_tokens = 4096, temperature = 0.7", "password = get_password(user1)", "The secret: it depends on version 2 of the protocol.",
     "const token = req.headers['x-token2'];", "password_hash = bcrypt.hash(input2)", "token_count: 12345678901234567",
     "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----",
     "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----", "-----BEGIN RSA PRIVATE KEY----- is how such a file begins",
     "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdkZXZ", "git@github.com:owner/repo.git", "icon@2x.png", "npm i @types/node@20.1.2", "@param user the user",
     "postgres://localhost:5432/app", "postgres://user:password@localhost/app", "https://user:$PASSWORD@host/", "+1 to that", "1+12345678 = 12345679",
     "UTC+01:00", "DE00 0000 0000 0000 0000 00", "DE89 3704 0044 0532 0130 01", "4242 4242 4242 4243", "1234 5678 9012 3456", "000-12-3456", "666-45-6789",
     "078-05-1120", "call 555-0199", "GB123456A", "12345678A", "756.9217.0769.84", "529.982.247-26", "36 months at 1.250,00", "page 811-218-9876",
     "11111111111111111111", "3.14159265358979323846", "2**64 = 18446744073709551616", "phone: see +Contact", "key-value store", "task-list", "risk-free",
     "the hf_hub library", "SG.1 and SG.2", "eyJ is how it begins", "path.to.module", "desk-lamp sk-ip", "AIzawa is a name", "bearer of bad news",
     "coordinates 52.520008, 13.404954", "MAC 00:1B:44:11:3A:B7", "IMEI 356938035643809", "VIN WVWZZZ1JZXW000001", "EAN 4006381333931", "\u20ac 1.234.567,89",
     "color #4287f5, #AB12CD", "regex [A-Z0-9._%+-]+@[A-Z0-9.-]+", "user@localhost", "a@b", "SELECT * FROM tokens WHERE id = 12345678",
     "How does a checksum such as Luhn's work?", "Der Zug kommt um 12:30 Uhr auf Gleis 7 an.", "Le 12/03/2024, il a payé 45,60 euros.")

# --- written otherwise than the rules expect, and numbers that only look like something -------------------------------------------
add("private-key", "-----BEGIN PRIVATE KEY-----\\n" + noise(ALNUM, 64) + "\\n" + noise(ALNUM, 30) + "\\n-----END PRIVATE KEY-----", '{{"private_key": "{}"}}')
add("private-key", "-----BEGIN OPENSSH PRIVATE KEY-----\n" + noise(ALNUM, 70) + "\n" + noise(ALNUM, 70), "cut off: {}")
add("jwt", TOKENS["jwt"](), "token={}; Path=/; HttpOnly")
add("github-token", TOKENS["github-token"](), "git clone https://{}@github.com/owner/repo.git")
add("github-token", TOKENS["github-token"](), "令牌是{}，请保密。")
add("aws-access-key", TOKENS["aws-access-key"](), "keys:{},{{}}")
add("slack-token", "xoxp-" + digits(11) + "-" + digits(11) + "-" + digits(12) + "-" + noise(HEX, 32))
add("generic-secret", "Wx9 kP2 mQ7", "password: '{}'")
add("generic-secret", noise(ALNUM, 24) + "4t", "The API key is {}, do not share it")
add("generic-secret", noise(HEX, 32) + "a4", "set secret to {}")
add("url-password", "p4ss/w0rd#x", "amqp://svc:{}@mq.internal:5672/")
add("e-mail", "jürgen.müller@example.de")
add("e-mail", "info@bücher.example")
add("e-mail", "ada (at) example (dot) org")
add("phone", "0170 1234567", "ruf mich an: {}")
add("phone", "(415) 555-0123", "call {} after six")
add("phone", "+49-(0)30-1234567")
add("iban", iban("DE", digits(18)).lower())
add("iban", grouped(iban("DE", digits(18)), sep="-"))
add("payment-card", grouped(luhn("4" + digits(14)), sep="\n"))
add("payment-card", grouped(luhn("4" + digits(14)), sep="."))
add("us-ssn", "536 22 8726", "his number: {}")
add("es-dni", "12345678z", "DNI {}")
add("pl-pesel", "44051401359", "numer ewidencyjny {}")
add("uk-nino", "AB-12-34-56-C")
add("it-codice-fiscale", "rssmra85t10a562s", "codice fiscale {}")
none("order " + luhn("4" + digits(14)), "transaction " + luhn("51" + digits(13)), "part 536-22-8726", "idempotency_token: " + str(uuid.UUID(int=r.getrandbits(128))),
     "etag secret=" + noise(HEX, 40), "next_page_token: " + noise(URL, 40) + "9", "token: " + noise(HEX, 40) + " is the commit", "key-" + noise(HEX, 32) + " is a cache key",
     "Passwort123 ist kein gutes password: Passwort123", "article 99123456Y", "user@2x.example of a path", "lot AB123456C", "+12345678 steps", "sk-" + noise("abcdefghijklmnopqrstuvwxyz", 34))

path = pathlib.Path(__file__).with_name("cases.jsonl")
path.write_text("".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases))
print(len(cases), "cases,", sum(not case["expect"] for case in cases), "with nothing in them")
