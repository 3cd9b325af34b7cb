// Loaded into the service (node --expose-gc --require): replies to each message of its parent with what the process holds.
const { createRequire } = require('node:module');
const { join } = require('node:path');

const { Client } = createRequire(join(__dirname, '../package.json'))('pg');
const clients = new Set();
const connect = Client.prototype.connect;
Client.prototype.connect = function (...parameters) {
  clients.add(this);
  this.once('end', () => clients.delete(this));
  return connect.apply(this, parameters);
};

process.on('message', () => {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  const statements = [...clients].map(
    (client) => Object.keys(client.connection.parsedStatements).length,
  );
  process.send({
    heapMB: heapUsed / 1024 / 1024,
    externalMB: external / 1024 / 1024,
    rssMB: rss / 1024 / 1024,
    handles: process.getActiveResourcesInfo().length,
    preparedStatements: Math.max(0, ...statements),
  });
});
process.channel?.unref(); // it must not keep a process that is to end
