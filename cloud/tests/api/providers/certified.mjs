// A provider certified by the OpenID Foundation, with the people and clients that a test names:
// node certified.mjs <folder of node_modules> <port> <settings in JSON>
//
// By its defaults, which are those of the standard: PKCE, exact addresses of return, the client's secret, and what it
// knows of a person only for those who ask with the access token. It signs with a new key at each start.

import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const [modules, port, text] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));
const { clients, people } = JSON.parse(text);

const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients,
  jwks: { keys: [{ ...key, alg: "ES256", use: "sig" }] },
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/person/${interaction.uid}` },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  async loadExistingGrant({ oidc }) {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid email profile");
    await grant.save();
    return grant;
  },
});
// Where a person would type name and password: `?who=` is the name.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/person/")) return next();
  const { who } = ctx.query;
  const outcome = who ? { login: { accountId: who } } : { error: "access_denied" };
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, outcome);
});
provider.listen(Number(port), "127.0.0.1");
