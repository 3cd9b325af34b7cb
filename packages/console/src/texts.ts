const english = {
  language: 'en',
  signIn: 'Sign in',
  signOut: 'Sign out',
  token: 'Access token (JWT)',
  tokenHelp:
    'A token of this service with the scope audit:read. It stays in this tab and is sent to this service alone.',
  notAToken: 'This is not a JWT: three parts between dots are expected.',
  expired: 'The token has expired or is not valid here. Paste another one.',
};

const german: typeof english = {
  language: 'de',
  signIn: 'Anmelden',
  signOut: 'Abmelden',
  token: 'Zugriffstoken (JWT)',
  tokenHelp:
    'Ein Token dieses Dienstes mit dem Scope audit:read. Es bleibt in diesem Tab und geht nur an diesen Dienst.',
  notAToken: 'Das ist kein JWT: erwartet werden drei Teile zwischen Punkten.',
  expired: 'Das Token ist abgelaufen oder hier nicht gültig. Fügen Sie ein anderes ein.',
};

/** Texts of the console round the viewer. */
export function consoleTexts(language: string): typeof english {
  return language.toLowerCase().startsWith('de') ? german : english;
}
