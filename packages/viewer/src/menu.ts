import { append, type Child, h, icon, replace } from './dom';

/** A button that opens a panel below it. Escape, a click elsewhere and the focus elsewhere close it. */
export class Menu {
  readonly element: HTMLElement;
  readonly button: HTMLButtonElement;
  private readonly panel: HTMLElement;
  private readonly closeOutside = (event: Event) => {
    if (!event.composedPath().includes(this.element)) this.close();
  };

  /** @param fill makes the content each time the panel opens. */
  constructor(
    label: Child[],
    private readonly fill: (close: () => void) => Child[],
    name: string,
    isAtEnd = false,
  ) {
    this.panel = h('div', {
      class: isAtEnd ? 'menu-panel at-end' : 'menu-panel',
      role: 'group',
      'aria-label': name,
      hidden: true,
    });
    this.button = h('button', {
      type: 'button',
      class: 'button',
      part: 'button',
      'aria-expanded': 'false',
      'aria-haspopup': 'true',
      onclick: () => (this.isOpen ? this.close() : this.open()),
    });
    append(this.button, [...label, icon('down')]);
    this.element = h('div', {
      class: 'menu',
      onkeydown: (event: KeyboardEvent) => this.keyPressed(event),
      onfocusout: ({ relatedTarget }: FocusEvent) => {
        if (relatedTarget instanceof Node && !this.element.contains(relatedTarget)) this.close();
      },
    });
    this.element.append(this.button, this.panel);
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  open(): void {
    replace(this.panel, ...this.fill(() => this.close(true)));
    this.panel.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
    document.addEventListener('pointerdown', this.closeOutside, true);
    this.panel.querySelector<HTMLElement>('input, select, button')?.focus();
  }

  close(returnsFocus = false): void {
    if (!this.isOpen) return;
    this.panel.hidden = true;
    this.button.setAttribute('aria-expanded', 'false');
    document.removeEventListener('pointerdown', this.closeOutside, true);
    if (returnsFocus) this.button.focus();
  }

  private keyPressed(event: KeyboardEvent): void {
    if (!this.isOpen) return;
    if (event.key === 'Escape') {
      event.stopPropagation();
      this.close(true);
      return;
    }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const { target } = event;
    if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
    const items = [...this.panel.querySelectorAll<HTMLElement>('button')];
    const at = items.findIndex((item) => item === target);
    const next = items[(at + (event.key === 'ArrowDown' ? 1 : -1) + items.length) % items.length];
    event.preventDefault();
    next?.focus();
  }
}
