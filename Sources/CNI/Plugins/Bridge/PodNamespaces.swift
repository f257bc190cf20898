import Netlink
import Syscalls

/// Host and container side by side: a netlink socket in each, opened together and before anything is changed.
///
/// A plugin is a program of one thread, so the thread itself goes into the container's namespace for a moment where the
/// kernel offers no other way (sockets, `/proc/sys`). It never stays there: programs started later inherit the place.
struct PodNamespaces: ~Copyable {
  private let home: NetworkNamespace
  /// The container's namespace.
  let container: NetworkNamespace
  /// Socket in the plugin's own namespace.
  var host: RouteSocket
  /// Socket in the container's namespace.
  var pod: RouteSocket

  /// - Throws: `failed to open netns "…": …`; code 3 when there is nothing at the path, code 8 when it is no namespace.
  init(_ path: String) throws(CNIError) {
    let container = try NetworkNamespace.open(path)
    let home = try NetworkNamespace.home()
    let host = try RouteSocket.ofThread()
    let pod = try container.visit(from: home) { () throws(CNIError) in try RouteSocket.ofThread() }
    self.container = container
    self.home = home
    self.host = host
    self.pod = pod
  }

  /// The number by which links of the host name the container's namespace; nil = none yet.
  mutating func containerNumber() throws(NetlinkError) -> Int32? { try host.namespaceID(of: container) }

  /// Runs `body` inside the container's namespace.
  func inside<R>(_ body: () throws(CNIError) -> R) throws(CNIError) -> R {
    try container.visit(from: home, body)
  }
}

extension NetworkNamespace {
  /// Opens the namespace a runtime named.
  static func open(_ path: String) throws(CNIError) -> NetworkNamespace {
    do throws(SystemError) {
      return try NetworkNamespace(path: path)
    } catch {
      let code: CNIError.Code =
        switch error.errno {
        case .noEntry: .unknownContainer
        case .invalid: .invalidNamespace
        default: .ioFailure
        }
      throw .plain("failed to open netns \(quoted(path)): \(error)", code)
    }
  }

  /// The namespace of this program.
  static func home() throws(CNIError) -> NetworkNamespace {
    do throws(SystemError) {
      return try NetworkNamespace.current()
    } catch {
      throw .plain("failed to open the plugin's own netns: \(error)", .ioFailure)
    }
  }

  /// Runs `body` with the calling thread in this namespace and comes back to `home`.
  func visit<R: ~Copyable>(
    from home: borrowing NetworkNamespace, _ body: () throws(CNIError) -> R
  ) throws(CNIError) -> R {
    try move()
    let r: R
    do throws(CNIError) {
      r = try body()
    } catch {
      try home.move()
      throw error
    }
    try home.move()
    return r
  }

  private func move() throws(CNIError) {
    do throws(SystemError) {
      try enter()
    } catch {
      throw .plain("failed to switch to the netns: \(error)", .ioFailure)
    }
  }
}

extension RouteSocket {
  /// A socket in the namespace the thread is in.
  static func ofThread() throws(CNIError) -> RouteSocket {
    do throws(NetlinkError) {
      return try RouteSocket()
    } catch {
      throw CNIError("failed to open a netlink socket", error)
    }
  }
}

extension CNIError {
  /// A failed request to the kernel, with the words of the plugin before it.
  init(_ what: String, _ error: NetlinkError) {
    self = .plain("\(what): \(error)", .ioFailure)
  }

  /// A refused message of a batch.
  init(_ what: String, _ failure: RouteBatch.Failure) {
    let kernel = failure.message.map { " (kernel: \($0))" } ?? ""
    self = .plain("\(what): \(failure.errno)\(kernel)", .ioFailure)
  }
}

/// Makes the kernel's refusal an error of the plugin.
func doing<R: ~Copyable>(
  _ what: @autoclosure () -> String, _ body: () throws(NetlinkError) -> R
) throws(CNIError) -> R {
  do throws(NetlinkError) {
    return try body()
  } catch {
    throw CNIError(what(), error)
  }
}
