// Bundles the types of the tRPC routers into one file that imports @trpc/server alone.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { generateDtsBundle } = require('dts-bundle-generator');
const { runGenerator } = require('../dist/cli/generated-file.js');
const root = join(import.meta.dirname, '..');

const HEADER = '// Types of the tRPC routers, made by `npm run trpc-types`. See trpc.md.\n';

runGenerator({
  name: 'trpc-types.d.ts',
  script: 'trpc-types',
  content: 'the types of the tRPC routers',
  text: () => {
    const entry = {
      filePath: join(root, 'src/api/trpc/client-types.ts'),
      output: { noBanner: true, exportReferencedTypes: false },
    };
    const [bundle] = generateDtsBundle([entry], {
      preferredConfigPath: join(root, 'tsconfig.types.json'),
    });
    return `${HEADER}${bundle}`;
  },
});
