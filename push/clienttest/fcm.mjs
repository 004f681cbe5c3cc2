// A sender of pushes on firebase-admin, as an app team would write it.
//
//     NODE_EXTRA_CA_CERTS=fcm-ca.pem node fcm.mjs fcm.json
//
// fcm.json is what the fake writes. Prints what became of each message as JSON.
import fs from 'node:fs';
import http2 from 'node:http2';
import tls from 'node:tls';

const info = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

// The client's host names are fixed. Their connections go to the fake, as with a line in /etc/hosts and a port;
// names and certificates are checked all the same.
const at = new URL(info.url);
const connect = tls.connect;
tls.connect = (...args) => {
  const options = args.find((a) => a && typeof a === 'object') ?? {};
  const host = options.servername || options.host;
  if (!/(^|\.)googleapis\.com$/.test(host)) throw new Error(`a connection to ${host}`);
  return connect({ ...options, host: at.hostname, port: Number(at.port), servername: host }, args.find((a) => typeof a === 'function'));
};

// sendEach speaks HTTP/2 and gives the scheme as "https:", which Google takes and Go's server, under the fake, refuses.
const session = http2.connect;
http2.connect = (...args) => {
  const s = session(...args);
  const request = s.request;
  s.request = (headers, ...rest) => request.call(s, { ...headers, ':scheme': headers[':scheme'].replace(':', '') }, ...rest);
  return s;
};

const { initializeApp, cert } = await import('firebase-admin/app');
const { getMessaging } = await import('firebase-admin/messaging');
const messaging = getMessaging(initializeApp({ credential: cert(JSON.parse(fs.readFileSync(info.credentials_file, 'utf8'))) }));

const results = {};
async function send(name, message, dryRun = false) {
  try {
    results[name] = { id: await messaging.send(message, dryRun) };
  } catch (e) {
    results[name] = { error: e.code, message: e.message };
  }
}

const text = { title: 'Знижка', body: 'Їжа & <b>' };
await send('display', { token: 'display', notification: { ...text, imageUrl: 'https://cdn.example/a.jpg' }, android: { priority: 'high', ttl: 900000, collapseKey: 'sale', notification: { tag: 'one' } } });
await send('replaced', { token: 'display', notification: { title: 'second' }, android: { notification: { tag: 'one' } } });
await send('data', { token: 'data', data: { title: 'Знижка', body: 'x', g: '{"v":1,"mid":"m-1"}' }, android: { priority: 'high' } });
await send('dryRun', { token: 'dry', notification: text }, true);
await send('gone', { token: 'gone', notification: text });
await send('bad', { token: 'bad', notification: text });
await send('foreign', { token: 'foreign', notification: text });
await send('quota', { token: 'quota', notification: text });
await send('large', { token: 'large', notification: { title: 'x', body: 'y'.repeat(5000) } });
const each = await messaging.sendEach(Array.from({ length: 200 }, (_, i) => ({ token: `each-${i}`, notification: text })));
results.each = { sent: each.successCount, failed: each.failureCount, message: each.responses.find((r) => r.error)?.error.message };
process.stdout.write(JSON.stringify(results));
process.exit(0); // the client keeps its connections for a while
