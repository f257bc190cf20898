import Glibc

/// Written by the handler. The handler may only use what is safe after a fault, so the document is constant.
private let document: StaticString = """
  {
      "code": 999,
      "msg": "internal fault in the plugin; please report it with the configuration and the environment"
  }
  """

/// Turns a trap into an error document and exit status 1. Without this a runtime would see an empty output and could
/// say nothing about the reason. It runs on a stack of its own, so that an exhausted stack is reported too.
func installFaultHandlers() {
  let size = 16384
  var stack = unsafe stack_t()
  unsafe stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
  unsafe stack.ss_size = size
  _ = unsafe sigaltstack(&stack, nil)
  for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in
      _ = unsafe write(1, document.utf8Start, document.utf8CodeUnitCount)
      _exit(1)
    }
    action.sa_flags = SA_ONSTACK
    _ = unsafe sigaction(number, &action, nil)
  }
}
