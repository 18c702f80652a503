// A prebuilt JupyterLab extension in the form that a bundler would give it (module federation's container),
// written by hand since it has nothing to bundle. It shows the notices in the page's configuration.
(() => {
  // JupyterLab cuts a notification at 140 characters.
  const LENGTH = 140;

  const pieces = sentence => {
    const found = [];
    for (const word of sentence.split(' ')) {
      const last = found.length - 1;
      if (last >= 0 && found[last].length + 1 + word.length <= LENGTH) {
        found[last] += ' ' + word;
      } else {
        found.push(word);
      }
    }
    return found;
  };

  const plugin = {
    id: 'jld-lab:notices',
    autoStart: true,
    // It must return at once: JupyterLab is restored only when all plugins have been activated.
    activate: app => {
      const config = JSON.parse(document.getElementById('jupyter-config-data').textContent);
      const notices = JSON.parse(config.jldNotices || '[]');
      app.restored.then(() => {
        // The newest is shown on top.
        for (const message of notices.flatMap(pieces).reverse()) {
          app.commands.execute('apputils:notify', { message, type: 'warning', options: { autoClose: false } });
        }
      });
    }
  };

  const module = { __esModule: true, default: plugin };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['jld-lab'] = { init: () => {}, get: async () => () => module };
})();
