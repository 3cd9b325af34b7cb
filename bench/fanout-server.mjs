// A reference for subscriptions: node:http that writes what is posted to all who listen to the same name. No database,
// no token, no order to keep: what handing out bytes costs at least.
import { createServer } from 'node:http';

const listeners = new Map();

createServer((request, response) => {
  const name = request.url;
  if (request.method === 'GET') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('retry: 2000\n\n');
    const own = listeners.get(name) ?? listeners.set(name, new Set()).get(name);
    own.add(response);
    response.on('close', () => own.delete(response));
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { events } = JSON.parse(Buffer.concat(chunks).toString());
    for (const event of events) {
      const text = `id: ${event.id}\nevent: audit.event\ndata: ${JSON.stringify(event)}\n\n`;
      for (const listener of listeners.get(name) ?? []) listener.write(text);
    }
    response.writeHead(201).end('{}');
  });
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
