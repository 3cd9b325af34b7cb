import {
  createElement,
  type CSSProperties,
  type ReactElement,
  useEffect,
  useLayoutEffect,
  useRef,
} from 'react';
import type { AuditLogViewer } from './element';

export interface AuditLogProps {
  /** URL of the service; that of the page without. */
  src?: string;
  token?: string;
  /** Gets another token when the one at hand is missing or refused. */
  renewToken?: () => Promise<string | undefined>;
  organization?: string;
  organizations?: readonly string[];
  urlPrefix?: string;
  lang?: string;
  theme?: 'light' | 'dark';
  timeZone?: string;
  className?: string;
  style?: CSSProperties;
  /** The token is missing or refused, and `renewToken` had none. */
  onTokenNeeded?: () => void;
  onEventOpen?: (event: { id: string; organizationId: string }) => void;
}

/** Before the element looks at its properties; a server has no layout. */
const useCommit = typeof document === 'undefined' ? useEffect : useLayoutEffect;

/**
 * `<audit-log-viewer>` as a component of React 18 or 19. The page imports the element itself; on a server there is the empty element.
 */
export function AuditLog(props: AuditLogProps): ReactElement {
  const element = useRef<AuditLogViewer>(null);
  const { token, renewToken, onTokenNeeded, onEventOpen } = props;
  useCommit(() => {
    const viewer = element.current;
    const needed = () => onTokenNeeded?.();
    const opened = (event: Event) =>
      onEventOpen?.((event as CustomEvent<{ id: string; organizationId: string }>).detail);
    viewer?.addEventListener('audit-token-needed', needed);
    viewer?.addEventListener('audit-event-open', opened);
    return () => {
      viewer?.removeEventListener('audit-token-needed', needed);
      viewer?.removeEventListener('audit-event-open', opened);
    };
  }, [onTokenNeeded, onEventOpen]);
  useCommit(() => {
    if (element.current) element.current.renewToken = renewToken;
  }, [renewToken]);
  useCommit(() => {
    if (element.current) element.current.token = token;
  }, [token]);
  const { src, organization, organizations, urlPrefix, lang, theme, timeZone } = props;
  const { className, style } = props;
  return createElement('audit-log-viewer', {
    ref: element,
    src,
    organization,
    organizations: organizations?.join(','),
    'url-prefix': urlPrefix,
    lang,
    theme,
    'time-zone': timeZone,
    // Custom elements of React 18 have no className.
    class: className,
    style,
  });
}
