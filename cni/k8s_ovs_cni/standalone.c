/* The CNI program and the interpreter that it runs on, as one static program.
 *
 * Of the interpreter only the core is started: nothing is searched for and no file is read, there is
 * no sys.path and there are no standard streams. The program needs none of them, and they are a third of
 * the interpreter's start. `_init_main` is documented as private and provisional; a Python without it
 * does not compile this.
 */
#include <Python.h>
#include <signal.h>

/* Made by standalone.py: STAMP, and the marshalled code of `program` and of `bootstrap`, the standard
 * library's importlib._bootstrap. */
#include "program.h"

PyObject *PyInit__imp(void), *PyInit__socket(void), *PyInit__thread(void), *PyInit__weakref(void),
    *PyInit_posix(void), *PyInit_time(void), *_PyWarnings_Init(void);

/* As in CPython's Modules/config.c, which would bring all other modules and their libraries. */
struct _inittab _PyImport_Inittab[] = {
    /* What the core itself imports, */
    {"_imp", PyInit__imp},
    {"_thread", PyInit__thread},
    {"_warnings", _PyWarnings_Init},
    {"_weakref", PyInit__weakref},
    {"builtins", NULL},
    {"sys", NULL},
    /* and what the program does. */
    {"_socket", PyInit__socket},
    {"posix", PyInit_posix},
    {"time", PyInit_time},
    {NULL, NULL},
};

/* As in CPython's Programs/_bootstrap_python.c: the core needs one of the modules that are frozen
 * into the library. To make the objects of the others ready would be a quarter of the start. */
static const struct _frozen none[] = {{NULL}}, core[] = {
    {.name = "_frozen_importlib", .code = bootstrap, .size = (int)sizeof bootstrap},
    {NULL},
}, own[] = {
    {.name = "__main__", .code = program, .size = (int)sizeof program},
    {NULL},
};
struct _module_alias {
    const char *name, *original;
};
static const struct _module_alias aliases[] = {
    {"_frozen_importlib", "importlib._bootstrap"},
    {NULL},
};
const struct _frozen *_PyImport_FrozenBootstrap = core, *_PyImport_FrozenStdlib = none,
                     *_PyImport_FrozenTest = none, *PyImport_FrozenModules = own;
const struct _module_alias *_PyImport_FrozenAliases = aliases;

int _Py_Deepfreeze_Init(void)
{
    return 0;
}

void _Py_Deepfreeze_Fini(void)
{
}

/* By it a file is known to be ours, and of which sources it was made. */
static const char stamp[] __attribute__((used)) = STAMP;

static void check(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

int main(void)
{
    PyPreConfig before;
    PyConfig config;

    /* As `python3` does: a daemon that hangs up is an error of the socket, not our end. */
    signal(SIGPIPE, SIG_IGN);
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    check(Py_PreInitialize(&before));
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    check(Py_InitializeFromConfig(&config));
    /* It ends the process, unless it fails. */
    PyImport_ImportFrozenModule("__main__");
    PyErr_Print();
    return 1;
}
