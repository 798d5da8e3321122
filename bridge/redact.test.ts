import { expect, test } from 'vitest'
import { redactSecrets } from './redact'

test.each([
  ['https://user:s3cretpass@host/x', 's3cretpass'],
  ['https://s3cretpass@host/simple', 's3cretpass'],
  ['git+https://oauth2:s3cretpass@example.org/a.git', 's3cretpass'],
  ['token=abcdef123456', 'abcdef123456'],
  ['Authorization: Bearer abcdef123456', 'abcdef123456'],
  ['authorization: basic dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
  ['curl -H "X: Bearer abcdef123456"', 'abcdef123456'],
  ['HF_TOKEN hf_abcdefghijklmnop', 'abcdefghijklmnop'],
  ['HF_TOKEN=hfabcdefghijklmnop', 'hfabcdefghijklmnop'],
  ['ghp_0123456789abcdefghij', '0123456789abcdefghij'],
  ['github_pat_0123456789abcdefghij', '0123456789abcdefghij'],
  ['glpat-0123456789abcdefghij', '0123456789abcdefghij'],
  ['sk-proj-0123456789abcdefghij', '0123456789abcdefghij'],
  ['xoxb-0123456789-abcdefghij', '0123456789-abcdefghij'],
  ['npm_0123456789abcdefghij', '0123456789abcdefghij'],
  ['pypi-AgEIcHlwaS5vcmcCJGI', 'AgEIcHlwaS5vcmcCJGI'],
  ['r8_0123456789abcdefghij', '0123456789abcdefghij'],
  ['AKIAIOSFODNN7EXAMPLE', 'IOSFODNN7EXAMPLE'],
  ['AIzaSyA0123456789abcdefghij', 'SyA0123456789abcdefghij'],
  ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl', 'eyJzdWIiOiIxIn0'],
  ['{"api_key": "0123456789"}', '0123456789'],
  ["{'apiKey': '0123456789'}", '0123456789'],
  ['COMFY_ENV_GITHUB_TOKEN=zzz0123456789', 'zzz0123456789'],
  ['AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI', 'wJalrXUtnFEMI'],
  ['password: hunter2hunter2', 'hunter2hunter2'],
  ['passwd=hunter2hunter2', 'hunter2hunter2'],
  ['Set-Cookie: session0123456789', 'session0123456789'],
  ['?X-Amz-Signature=abcdef0123456789&x=1', 'abcdef0123456789'],
  ['https://host/file?sig=abcdef0123456789', 'abcdef0123456789'],
  ['huggingface-cli login --token abcdef0123456789', 'abcdef0123456789'],
  ['-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKC\n-----END RSA PRIVATE KEY-----', 'MIIEowIBAAKC'],
])('%s is masked', (text, secret) => {
  expect(redactSecrets(text)).not.toContain(secret)
})

test.each(['nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-win_amd64.whl', 'sha256:0123456789abcdef', 'the tokenizer of 30 tokens', 'https://host/a@b'.replace('a@b', 'ab')])(
  '%s stays as it is',
  (text) => expect(redactSecrets(text)).toBe(text),
)
