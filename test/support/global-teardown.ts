/** Drops the databases of the run and stops the server that global-setup.ts started. */
export default async function tearDown(): Promise<void> {
  await globalThis.tearDownTestServer?.();
}
