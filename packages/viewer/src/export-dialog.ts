import { ApiError, type AuditApi } from './audit-api';
import { h, replace } from './dom';
import type { Language, Texts } from './texts';

const FORMATS = ['csv', 'json', 'ndjson', 'cef'] as const;
type Format = (typeof FORMATS)[number];
const SCHEMAS = ['native', 'cloudevents', 'ocsf', 'ecs'] as const;
/** Formats that have a line for each event. */
const BY_LINES = new Set<Format>(['ndjson', 'cef']);
/** Formats that have a schema. */
const WITH_SCHEMA = new Set<Format>(['json', 'ndjson']);

type SaveFilePicker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/** Exports all events of a search into a file: the format, the progress, and the end. */
export class ExportDialog {
  readonly element: HTMLDialogElement;
  private controller: AbortController | undefined;
  private filter = new URLSearchParams();

  constructor(
    private readonly language: Language,
    private readonly api: AuditApi,
  ) {
    this.element = h('dialog', {
      class: 'dialog',
      part: 'dialog',
      'aria-label': language.text('exportTitle'),
      onclose: () => this.controller?.abort(),
    });
  }

  /** @param filter that of the list. */
  open(filter: URLSearchParams): void {
    this.filter = filter;
    this.showChoice();
    this.element.showModal();
  }

  private showChoice(): void {
    const { language } = this;
    const format = h('select', { name: 'format' });
    for (const one of FORMATS) {
      format.append(h('option', { value: one }, language.text(`format_${one}`)));
    }
    const schema = h('select', { name: 'schema' });
    for (const one of SCHEMAS) {
      const label = one === 'native' ? language.text('schema_native') : one;
      schema.append(h('option', { value: one }, label));
    }
    const schemaRow = h('label', { class: 'field' }, language.text('schema'), schema);
    const show = () => (schemaRow.hidden = !WITH_SCHEMA.has(format.value as Format));
    format.addEventListener('change', show);
    show();
    const form = h(
      'form',
      {
        onsubmit: (event: Event) => {
          event.preventDefault();
          const chosen = format.value as Format;
          const query = new URLSearchParams(this.filter);
          query.set('format', chosen);
          if (WITH_SCHEMA.has(chosen) && schema.value !== 'native')
            query.set('schema', schema.value);
          this.run(query, chosen).catch(() => undefined); // shown by run
        },
      },
      h('h2', {}, language.text('exportTitle')),
      h('p', {}, language.text('exportText')),
      h('label', { class: 'field' }, language.text('format'), format),
      schemaRow,
      h(
        'div',
        { class: 'row-of-buttons at-end' },
        this.closeButton('cancel'),
        h('button', { type: 'submit', class: 'button primary' }, language.text('exportStart')),
      ),
    );
    replace(this.element, form);
  }

  private closeButton(label: keyof Texts): HTMLButtonElement {
    const onclick = () => this.element.close();
    return h('button', { type: 'button', class: 'button', onclick }, this.language.text(label));
  }

  private async run(query: URLSearchParams, format: Format): Promise<void> {
    const { language } = this;
    this.controller = new AbortController();
    const { signal } = this.controller;
    // A browser that writes to a file keeps no part of the export in memory.
    let file: FileSystemWritableFileStream | undefined;
    const pick = (globalThis as { showSaveFilePicker?: SaveFilePicker }).showSaveFilePicker;
    if (pick && isSecureContext) {
      try {
        const handle = await pick({ suggestedName: `audit-events.${format}` });
        file = await handle.createWritable();
      } catch (error) {
        if (error instanceof DOMException && error.name === 'AbortError') return;
        // A frame may not: the file is collected in memory.
      }
    }
    const said = h('p', {}, language.text('exportRunning', { size: language.size(0) }));
    const title = language.text('exportTitle');
    const progress = h('progress', { 'aria-label': title });
    const buttons = h('div', { class: 'row-of-buttons at-end' }, this.closeButton('cancel'));
    const state = h('div', { 'aria-live': 'polite' }, said);
    replace(this.element, h('h2', {}, title), progress, state, buttons);
    let size = language.size(0);
    let saidAt = 0;
    try {
      const report = ({ bytes, lines }: { bytes: number; lines: number }) => {
        size = language.size(bytes);
        if (performance.now() - saidAt < 100) return;
        saidAt = performance.now();
        const key = BY_LINES.has(format) ? 'exportLines' : 'exportRunning';
        replace(said, language.text(key, { size, count: lines }));
      };
      const write = file && ((chunk: Uint8Array<ArrayBuffer>) => file.write(chunk));
      const { blob, name } = await this.api.export(query, signal, report, write);
      if (file) await file.close();
      else save(blob, name);
      progress.remove();
      replace(said, language.text('exportDone', { name, size }));
    } catch (error) {
      await file?.abort().catch(() => undefined);
      if (signal.aborted) return;
      progress.remove();
      const isForbidden = error instanceof ApiError && error.status === 403;
      const reason = error instanceof Error ? error.message : '';
      replace(
        said,
        isForbidden
          ? language.text('exportForbidden')
          : language.text('exportFailed', { reason: reason || language.text('offlineTitle') }),
      );
    }
    replace(buttons, this.closeButton('close'));
    buttons.querySelector('button')?.focus();
  }
}

function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: name }).click();
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
