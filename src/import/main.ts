import { surviveClosedOutputs } from '../platform/logging/log-output';
import { runImportCommand } from './import-command';

// `npm run import`: see import-command.ts for what it does and arguments.ts for how it is called.
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
