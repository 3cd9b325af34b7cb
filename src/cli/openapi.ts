import 'reflect-metadata';
import { createApplication } from '../app.setup';
import { HttpServer } from '../http/http-server';
import { openApiDocument } from '../openapi';
import { runGenerator } from './generated-file';

runGenerator({
  name: 'openapi.json',
  script: 'openapi',
  content: 'the OpenAPI description of all routes',
  text: async () => {
    // The application is wired, not started: it connects to nothing.
    const app = await createApplication(new HttpServer(), { preview: true });
    return `${JSON.stringify(openApiDocument(app), null, 2)}\n`;
  },
});
