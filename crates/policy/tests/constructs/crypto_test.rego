# crypto.* and io.jwt.*, as in OPA's test folders cryptosha256, cryptomd5, cryptosha1, cryptohmac…, jwtbuiltins, jwtdecodeverify and
# jwtverifyhs256. Expected values are those of RFC 1321, FIPS 180, RFC 2202 and RFC 4231.
package constructs.crypto_test

test_digests if {
	crypto.md5("abc") == "900150983cd24fb0d6963f7d28e17f72"
	crypto.sha1("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d"
	crypto.sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
}

text := "what do ya want for nothing?"

test_authentication if {
	crypto.hmac.md5(text, "Jefe") == "750c783e6ab0b503eaa86e310a5db738"
	crypto.hmac.sha1(text, "Jefe") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
	crypto.hmac.sha256(text, "Jefe") == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	sha512 := crypto.hmac.sha512(text, "Jefe")
	startswith(sha512, "164b7a7bfcf819e2e395fbe73b56e0a3")
	count(sha512) == 128
}

test_equality if {
	crypto.hmac.equal("abc", "abc")
	not crypto.hmac.equal("abc", "abd")
	not crypto.hmac.equal("abc", "abcd")
}


test_decoding if {
	[header, payload, signature] := io.jwt.decode(data.constructs.token)
	header == {"alg": "HS256", "typ": "JWT"}
	payload.sub == "alice"
	count(signature) == 64
}

test_verification if {
	io.jwt.verify_hs256(data.constructs.token, "secret")
	not io.jwt.verify_hs256(data.constructs.token, "other")
	not io.jwt.verify_hs384(data.constructs.token, "secret")
}

test_decoding_and_verification if {
	constraints := {"secret": "secret", "aud": "testimony", "time": 1500000000000}
	[valid, header, payload] := io.jwt.decode_verify(data.constructs.token, constraints)
	valid
	header.alg == "HS256"
	payload.iss == "issuer.example"
}

test_nothing_of_an_invalid_token_is_shown if {
	[false, {}, {}] == io.jwt.decode_verify(data.constructs.token, {"secret": "other", "aud": "testimony"})
}
