import { surviveClosedOutputs } from '../platform/logging/log-output';
import { runImportCommand } from './import-command';

// `npm run import`: arguments.ts has its usage.
surviveClosedOutputs();
runImportCommand(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
