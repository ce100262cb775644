/**
 * A self-signed certificate for `mail.example` and `localhost`, valid for a hundred years, and its key.
 * For servers that tests start; nothing else trusts it.
 */
export const testCertificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgj2xHrXtTba5k5uGf
ux7B70/5wgGpUcJo9h/Cl+Ts7pahRANCAARRi6Df6U8mLa19JUKGhPSVpMbrCSav
g7O9+XQp56Si05Ie4OUkLcGXtKx2ILXNF3aUS7WprvYDkEliemOpbB3D
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBqDCCAU+gAwIBAgIUJTzQVhoxlJ3k41XA+CzjSp/jlhkwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMbWFpbC5leGFtcGxlMCAXDTI2MTEyMTIxMzk0NFoYDzIxMjYx
MDI4MjEzOTQ0WjAXMRUwEwYDVQQDDAxtYWlsLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAARRi6Df6U8mLa19JUKGhPSVpMbrCSavg7O9+XQp56Si05Ie
4OUkLcGXtKx2ILXNF3aUS7WprvYDkEliemOpbB3Do3cwdTAdBgNVHQ4EFgQUsabs
4LXRmaeDPeMrWIS7dg3Ow8UwHwYDVR0jBBgwFoAUsabs4LXRmaeDPeMrWIS7dg3O
w8UwDwYDVR0TAQH/BAUwAwEB/zAiBgNVHREEGzAZggxtYWlsLmV4YW1wbGWCCWxv
Y2FsaG9zdDAKBggqhkjOPQQDAgNHADBEAiB/ObdNSwNzkqhXnN2+MJQqTbN2TmDr
KmRYKwSDIJI6igIgKwGFOVqJlLGatRUtggZixrsxbnbvix1YZ4c/msg8LfQ=
-----END CERTIFICATE-----
`,
};
