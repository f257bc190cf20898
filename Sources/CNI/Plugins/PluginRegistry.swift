/// The plugins of this program.
public enum PluginRegistry {
  /// All of them. A program name selects one; a delegate of the same program is called as a function.
  public static var all: [any CNIPlugin] {
    [FlannelPlugin(), BridgePlugin(), HostLocalPlugin(), LoopbackPlugin(), PortmapPlugin()]
  }

  /// Words that the file of every program with these plugins holds and no other program's: by them `weft install` and
  /// `weft uninstall` know their own files without starting them. Never change them.
  public static let mark = "weft-cni, the CNI plugins of Weft"

  /// The plugin for a program name such as `/opt/cni/bin/flannel`; nil for another name.
  public static func plugin(named program: String) -> (any CNIPlugin)? {
    let name = program.split(separator: "/").last.map(String.init) ?? program
    return all.first { type(of: $0).name == name }
  }

  /// The names for error texts, in order.
  public static var names: [String] { all.map { type(of: $0).name } }
}
