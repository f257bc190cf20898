import ArgumentParser
import Glibc
import Installer
import Syscalls

/// `weft install …`: puts on a node what the container runtime needs.
struct InstallCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "install",
    abstract: "Install the CNI plugins and their configuration on this machine.",
    discussion: """
      Every file is replaced as a whole, also while it is in use; one that is right already is not touched.

      EXAMPLE
        weft install plugins --bin-dir /opt/cni/bin --plugins all
        weft install conflist --source cni-conf.json --conf-dir /etc/cni/net.d
      """,
    subcommands: [Plugins.self, Conflist.self])

  struct Plugins: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "plugins",
      abstract: "Install the CNI plugins.",
      discussion: """
        flannel takes the place of any plugin of that name. Another plugin that somebody else installed is left alone, \
        unless --replace-foreign is given: with a warning for `all`, and as an error if it was named.
        """)

    @Option(name: .customLong("bin-dir"), help: "The runtime's directory of plugins.")
    var directory = Uninstallation.Places().plugins
    @Option(help: ArgumentHelp("Plugins to install, or all.", valueName: "flannel|all|name,name"))
    var plugins = "flannel"
    @Flag(name: .customLong("replace-foreign"), help: "Also over plugins that somebody else installed.")
    var replacesForeign = false
    @Option(help: "The program with the plugins; weft-cni beside this program when left out.")
    var source: String?

    func run() throws {
      let source = try source ?? "\(Files.split(try ProgramPath.own()).directory)/weft-cni"
      let installation = PluginInstallation(
        directory: directory, source: source, choice: try PluginChoice(parsing: plugins),
        replacesForeign: replacesForeign)
      try installation.run(Terminal.installation)
    }
  }

  struct Conflist: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "conflist",
      abstract: "Install a CNI configuration list.",
      discussion: "It is checked first. The directory must be there.")

    @Option(help: "The configuration list.")
    var source: String
    @Option(name: .customLong("conf-dir"), help: "The runtime's directory of configuration.")
    var directory = Uninstallation.Places().configuration
    @Option(help: "Name of the file.")
    var name = ConfigurationInstallation.standardName

    func run() throws {
      try ConfigurationInstallation(source: source, directory: directory, name: name).run(Terminal.installation)
    }
  }
}

/// `weft uninstall`: the way back.
struct UninstallCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "uninstall",
    abstract: "Remove the CNI plugins, their configuration and, with --purge, the network of this machine.",
    discussion: """
      Removes plugins that are ours, and 10-flannel.conflist if it names flannel. With --purge also the devices \
      flannel.VNI and flannel-v6.VNI, cni0 if nothing is connected to it, routes of ours, the chains FLANNEL-* of \
      iptables (both variants, both families), the tables flannel-ipv4 and flannel-ipv6 of nf_tables, subnet.env, and \
      what the plugins keep about containers as far as no container uses it. Stop the agent first. What is not ours \
      stays, and so does what containers still need: that is told on standard error.

      EXIT STATUS
        0 all is removed, also when there was nothing; 1 something could not be removed
      """)

  @Flag(help: "Also the network.")
  var purge = false
  @Flag(help: "Afterwards stay until SIGTERM, as a pod of a DaemonSet must.")
  var wait = false
  @Flag(name: .customLong("dry-run"), help: "Only say what would be removed.")
  var dryRun = false
  @Option(name: .customLong("bin-dir"), help: "The runtime's directory of plugins.")
  var plugins = Uninstallation.Places().plugins
  @Option(name: .customLong("conf-dir"), help: "The runtime's directory of configuration.")
  var configuration = Uninstallation.Places().configuration
  @Option(name: .customLong("subnet-file"), help: "The agent's file.")
  var subnetFile = Uninstallation.Places().subnetFile
  @Option(name: .customLong("cni-state-dir"), help: "Where plugins keep what they know of containers.")
  var state = Uninstallation.Places().state

  func run() throws {
    // Signals are kept from the first moment: a removal is not cut in two.
    var loop = try EventLoop<Never>(signals: [SIGTERM, SIGINT])
    var places = Uninstallation.Places()
    places.plugins = plugins
    places.configuration = configuration
    places.subnetFile = subnetFile
    places.state = state
    let isDone = try Uninstallation(places, purges: purge, isDry: dryRun).run(Terminal.installation)
    guard isDone else { throw ExitCode.failure }
    guard wait else { return }
    while true {
      for case .signal in try loop.wait() { return }
    }
  }
}

extension Terminal {
  /// What was done goes to standard output, what was not to standard error.
  static var installation: Report { Report(say: out, warn: { report("warning: \($0)") }) }
}
