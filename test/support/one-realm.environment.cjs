const vm = require('node:vm');
const { TestEnvironment } = require('jest-environment-node');

/** Stands for the context in which this file itself runs; Jest asks each environment for one. */
const THIS_CONTEXT = Object.freeze({});
const compileFunction = vm.compileFunction;
vm.compileFunction = (code, parameters, options) =>
  options?.parsingContext === THIS_CONTEXT
    ? compileFunction(code, parameters, { ...options, parsingContext: undefined })
    : compileFunction(code, parameters, options);

/**
 * Runs specs in the context of the worker instead of one context a file, so that Node.js itself evaluates installed
 * packages, once a worker: their objects and errors are of the realm of the specs, as in production. Our own modules stay
 * one instance a file, `process` (variables, listeners, `exit`) is a copy for each file as with Jest's own environment,
 * and what a file leaves behind on the global object is undone after it.
 */
module.exports = class OneRealmEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.before = { process, globals: Object.getOwnPropertyDescriptors(globalThis) };
    const { global, moduleMocker, fakeTimersModern } = this;
    this.process = globalThis.process = global.process; // what Jest changes of it goes with the copy
    this.global = globalThis;
    this.moduleMocker = new moduleMocker.constructor(globalThis);
    this.fakeTimersModern = new fakeTimersModern.constructor({
      config: config.projectConfig,
      global: globalThis,
    });
  }

  async setup() {
    globalThis.process = this.before.process; // whose errors Jest listens to
  }

  handleTestEvent({ name }) {
    if (name === 'setup') globalThis.process = this.process;
  }

  getVmContext() {
    return this.context && THIS_CONTEXT;
  }

  async teardown() {
    this.moduleMocker.restoreAllMocks();
    const { globals, process } = this.before;
    await super.teardown();
    globalThis.process = process;
    // What the file has started and not ended, as it failed, is ended with the worker.
    for (const end of this.process.listeners('exit')) process.once('exit', end);
    for (const key of Reflect.ownKeys(globalThis)) {
      const descriptor = Object.getOwnPropertyDescriptor(globalThis, key);
      if (!descriptor?.configurable) continue;
      if (!(key in globals)) delete globalThis[key];
      else if (globals[key].value !== descriptor.value) {
        Object.defineProperty(globalThis, key, globals[key]);
      }
    }
    this.before = null;
    this.process = null;
    this.global = null;
  }
};
