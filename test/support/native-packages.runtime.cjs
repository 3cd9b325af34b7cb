const { createRequire, isBuiltin } = require('node:module');
const { default: Runtime } = require('jest-runtime');

/** A name that a package is required by: neither a path nor a module of Node.js, nor one of Jest's own. */
const isPackage = (name) => !/^(?:[./]|@?jest\b|expect$)/.test(name) && !isBuiltin(name);

/** Leaves installed packages to Node.js, which evaluates them once a worker; one-realm.environment.cjs says why. */
module.exports = class NativePackagesRuntime extends Runtime {
  requireModuleOrMock(from, name) {
    return isPackage(name) ? createRequire(from)(name) : super.requireModuleOrMock(from, name);
  }
};
