/// A plugin: what it does for each command. The common front end (variables, configuration, versions) has been passed
/// when a function here is called.
///
/// Any error may be thrown; see `CNIError.init(_:)` for the code it gets. A failed ADD should leave nothing behind.
public protocol CNIPlugin {
  /// The name of the program, as in `type` of a configuration.
  static var name: String { get }
  /// The line printed when the program is called without a command.
  static var about: String { get }
  /// Versions of the configuration that are accepted, as texts.
  static var supportedVersions: [String] { get }

  /// Attaches the container and says what was made.
  func add(_ request: CNIRequest) throws -> CNIResult
  /// Undoes ADD; things that are gone are no error.
  func del(_ request: CNIRequest) throws
  /// Fails when what ADD made is not there any more.
  func check(_ request: CNIRequest) throws
  /// Fails with code 50 or 51 when ADD would fail.
  func status(_ request: CNIRequest) throws
  /// Removes everything that belongs to no attachment of `request.validAttachments()`.
  func gc(_ request: CNIRequest) throws
}

extension CNIPlugin {
  /// Default: the program's name and the release.
  public static var about: String { "CNI \(name) plugin \(pluginRelease)" }
  /// Default: all versions that the front end can read and print.
  public static var supportedVersions: [String] { CNIVersion.allTexts }
  /// Default: nothing is looked at, so nothing can be wrong.
  public func check(_ request: CNIRequest) throws {}
  /// Default: ADD is always expected to work.
  public func status(_ request: CNIRequest) throws {}
  /// Default: nothing outlives a DEL, so there is nothing to remove.
  public func gc(_ request: CNIRequest) throws {}

  func run(_ request: CNIRequest) throws -> CNIResult? {
    switch request.command {
    case .add: return try add(request)
    case .del: try del(request)
    case .check: try check(request)
    case .status: try status(request)
    case .gc: try gc(request)
    }
    return nil
  }
}

/// The release that the plugins name in their about line.
public let pluginRelease = "v0.1.0"
