// Better Auth with its sessions in PostgreSQL, in two processes:
//
//	npm install --no-package-lock
//	node server.mjs migrate POSTGRES-URL
//	node server.mjs PORT POSTGRES-URL
import cluster from "node:cluster";
import http from "node:http";
import { betterAuth } from "better-auth";
import { APIError } from "better-auth/api";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";

const [first, database] = process.argv.slice(2);

const options = {
  database: new pg.Pool({ connectionString: database, max: 8 }),
  baseURL: "http://127.0.0.1",
  secret: "bench only, on the loopback interface",
  logger: { level: "error" },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  emailAndPassword: {
    enabled: true,
    // No password is hashed, here as in the other programs.
    password: { hash: async (password) => password, verify: async ({ hash, password }) => hash === password },
  },
};

async function serve(auth, request, response) {
  const url = new URL(request.url, "http://127.0.0.1");
  const headers = new Headers();
  for (const name of ["cookie", "user-agent"]) {
    if (request.headers[name]) headers.set(name, request.headers[name]);
  }
  if (url.pathname === "/login") {
    const email = url.searchParams.get("user") + "@example.test";
    const answer = await auth.api.signInEmail({ body: { email, password: "password" }, headers, asResponse: true });
    response.writeHead(answer.status, { "set-cookie": answer.headers.getSetCookie() });
    return response.end("ok");
  }
  switch (url.pathname) {
    case "/me": {
      const session = await auth.api.getSession({ headers });
      if (!session) throw new APIError("UNAUTHORIZED");
      return response.end(session.user.name);
    }
    case "/sessions":
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify(await auth.api.listSessions({ headers })));
    case "/revoke":
      await auth.api.revokeSessions({ headers });
      return response.end("ok");
  }
  response.writeHead(404);
  response.end();
}

if (first === "migrate") {
  await (await getMigrations(options)).runMigrations();
  await options.database.end();
} else if (cluster.isPrimary) {
  await options.database.end();
  let ready = 0;
  cluster.on("listening", () => {
    if (++ready === 2) console.log("listening on port", first);
  });
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  const auth = betterAuth(options);
  const server = http.createServer((request, response) =>
    serve(auth, request, response).catch((error) => {
      response.writeHead(error instanceof APIError ? error.statusCode : 500);
      response.end(String(error));
    }),
  );
  server.keepAliveTimeout = 600_000;
  server.listen(Number(first), "127.0.0.1");
}
