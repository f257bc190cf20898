import JSON
import Syscalls

/// The process around a plugin: which plugins it holds, how it starts others, what it says on standard error. A value
/// of this is the only way from a plugin to other plugins, so that tests and the lab can put their own in.
public final class PluginHost {
  /// Starts a program with an environment and standard input.
  public typealias Spawn = (_ path: String, _ environment: [String], _ stdin: [UInt8]) throws -> ChildProcess.Output

  /// The plugins that can be called as functions, by name.
  public var plugins: [String: any CNIPlugin]
  /// Runs a delegate that is not ours.
  public var spawn: Spawn
  /// True when a path is the network namespace of this process; false too when there is nothing at the path.
  public var isOwnNamespace: (String) -> Bool
  /// The file this program was started from; nil makes every delegate a program.
  public var executable: FileStatus?
  /// Everything said on standard error so far.
  public private(set) var messages: [UInt8] = []

  /// Without arguments, every delegate is executed as a program.
  /// - Parameters:
  ///   - plugins: what may be called as a function, if `executable` is found under its name.
  ///   - executable: the file of this program.
  ///   - spawn: runs any other delegate.
  ///   - isOwnNamespace: tells whether a path is the namespace of this process.
  public init(
    plugins: [any CNIPlugin] = [], executable: FileStatus? = nil, spawn: @escaping Spawn = PluginHost.execute,
    isOwnNamespace: @escaping (String) -> Bool = PluginHost.isNamespaceOfThread
  ) {
    self.plugins = [:]
    for p in plugins { self.plugins[type(of: p).name] = p }
    self.spawn = spawn
    self.isOwnNamespace = isOwnNamespace
    self.executable = executable
  }

  /// Adds a line for standard error.
  public func log(_ text: String) {
    messages.append(contentsOf: text.utf8)
    messages.append(0x0a)
  }

  /// Adds bytes that a delegate said on standard error.
  func pass(_ bytes: [UInt8]) { messages.append(contentsOf: bytes) }

  /// Compares device and inode of the namespace files.
  public static func isNamespaceOfThread(_ path: String) -> Bool {
    guard let own = try? Files.status("/proc/thread-self/ns/net"), let other = try? Files.status(path) else {
      return false
    }
    return own.device == other.device && own.inode == other.inode
  }

  /// Runs a program by `posix_spawn`. A file that is just being written is tried again, five times with a second
  /// between.
  public static func execute(
    _ path: String, _ environment: [String], _ stdin: [UInt8]
  ) throws(SystemError) -> ChildProcess.Output {
    var left = 5
    while true {
      do throws(SystemError) {
        return try ChildProcess.run(path, environment: environment, input: stdin)
      } catch {
        guard error.errno == .textBusy, left > 0 else { throw error }
        left -= 1
        Clock.sleep(nanoseconds: 1_000_000_000)
      }
    }
  }
}
