import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { Client } from 'pg';

const GUIDE = readFileSync(join(__dirname, '..', '..', 'docs', 'operations.md'), 'utf8');
/** Protocol 1234.5679 of PostgreSQL: a request for TLS, in front of the start-up message. */
const SSL_REQUEST = 80_877_103;

/** What a server sees of a connection. */
type Seen = 'plain' | 'TLS' | 'nothing';

/**
 * The first messages of PostgreSQL: TLS with a certificate for `localhost` that nobody has signed but itself, or the
 * refusal of a server without TLS. Connections end there.
 */
class FirstMessages {
  readonly seen: Seen[] = [];
  private readonly server: Server;

  constructor(
    private readonly hasTls: boolean,
    private readonly key: Buffer,
    private readonly cert: Buffer,
  ) {
    this.server = createServer((socket) => this.serve(socket));
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve));
  }

  private serve(socket: Socket): void {
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      if (bytes.readInt32BE(4) !== SSL_REQUEST) {
        this.seen.push('plain');
        socket.destroy();
        return;
      }
      if (!this.hasTls) {
        socket.write('N');
        return;
      }
      const { key, cert } = this;
      socket.pause();
      socket.write('S');
      const secure = new TLSSocket(socket, { isServer: true, key, cert });
      secure.on('error', () => undefined);
      secure.once('data', () => {
        this.seen.push('TLS');
        secure.destroy();
      });
    });
  }
}

describe('sslmode of DATABASE_URL', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ssl-modes-'));
  const path = (name: string) => join(folder, name);
  let withTls: FirstMessages;
  let without: FirstMessages;
  let port: number;
  let plainPort: number;

  beforeAll(async () => {
    jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined); // of pg, about modes
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-keyout', path('key.pem'), '-out', path('ca.pem'), '-days', '2'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
    ]);
    const [key, cert] = [readFileSync(path('key.pem')), readFileSync(path('ca.pem'))];
    withTls = new FirstMessages(true, key, cert);
    without = new FirstMessages(false, key, cert);
    [port, plainPort] = [await withTls.listen(), await without.listen()];
  });

  afterAll(async () => {
    await Promise.all([withTls.close(), without.close()]);
    rmSync(folder, { recursive: true });
    jest.restoreAllMocks();
  });

  /** What the server has seen of an attempt to connect, and why it failed. */
  async function attempt(server: FirstMessages, url: string): Promise<{ seen: Seen; why: string }> {
    server.seen.length = 0;
    const client = new Client({ connectionString: url });
    client.on('error', () => undefined);
    const why = await client.connect().then(
      () => '',
      (error: Error) => error.message,
    );
    await client.end().catch(() => undefined);
    return { seen: server.seen[0] ?? 'nothing', why };
  }

  /** Rows of the table: the query, and whether a connection is encrypted, and certificate and name are checked. */
  const documented = [
    ...GUIDE.matchAll(/^\| `(\?[^`|]+)` +\| (yes|no) +\| (yes|no|–) +\| (yes|no|–) +\|/gm),
  ].map(([, query = '', encrypted, certificate, name]) => ({
    query,
    encrypted,
    certificate,
    name,
  }));
  const rows = [{ query: '', encrypted: 'no', certificate: '–', name: '–' }, ...documented];

  it('has all modes of libpq in the table, and two of this client', () => {
    const queries = rows.map(({ query }) => query).join(' ');
    for (const mode of ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']) {
      expect(queries).toContain(`sslmode=${mode}`);
    }
    expect(queries).toContain('sslmode=no-verify');
    expect(queries).toContain('uselibpqcompat=true');
  });

  it.each(rows)('is as documented: $query', async ({ query, encrypted, certificate, name }) => {
    const filled = query.replace('ca.pem', encodeURIComponent(path('ca.pem')));
    const at = (host: string, to: number) => `postgres://audit:secret@${host}:${to}/audit${filled}`;
    const own = await attempt(withTls, at('localhost', port));
    if (encrypted === 'no') {
      expect(own.seen).toBe('plain');
      return;
    }
    // Without TLS none goes on in plain text.
    const refused = await attempt(without, at('localhost', plainPort));
    expect(refused).toEqual({
      seen: 'nothing',
      why: expect.stringContaining('does not support SSL'),
    });
    const hasCa = filled.includes('sslrootcert');
    if (certificate === 'yes' && !hasCa) {
      expect(own).toEqual({ seen: 'nothing', why: expect.stringMatching(/self.signed/) });
      return;
    }
    expect(own.seen).toBe('TLS');
    const other = await attempt(withTls, at('127.0.0.1', port)); // not in the certificate
    expect(other.seen).toBe(name === 'yes' ? 'nothing' : 'TLS');
  });
});
