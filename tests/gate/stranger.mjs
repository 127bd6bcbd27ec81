// A resource server that was never written for Keystead: oauth4webapi asks for one token, and says what it made of the
// answer. `node stranger.mjs` reads {server, client_id, client_secret, token, revoke} and prints JSON.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(`${process.env.KEYSTEAD_TEST_NODE}/package.json`)
const oauth = await import(pathToFileURL(require.resolve('oauth4webapi')))

let sent = ''
for await (const part of process.stdin) sent += part
const { server, client_id, client_secret, token, revoke } = JSON.parse(sent)

const issuer = {
  issuer: server,
  introspection_endpoint: `${server}/introspect`,
  revocation_endpoint: `${server}/revoke`,
}
const client = { client_id }
const options = { [oauth.allowInsecureRequests]: true }
if (revoke) {
  const answer = await oauth.revocationRequest(issuer, client, oauth.None(), token, options)
  await oauth.processRevocationResponse(answer)
}
const secret = oauth.ClientSecretBasic(client_secret)
const answer = await oauth.introspectionRequest(issuer, client, secret, token, options)
try {
  console.log(JSON.stringify(await oauth.processIntrospectionResponse(issuer, client, answer)))
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, status: error.status ?? answer.status }))
}
