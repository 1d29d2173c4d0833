// Written by labctl: makes true at every start what /etc/jenkins-lab/config.json says. Classes of Jenkins itself, and
// of the plugin matrix-auth where it is there.
import groovy.json.JsonSlurper
import hudson.model.FreeStyleProject
import hudson.model.Node
import hudson.security.FullControlOnceLoggedInAuthorizationStrategy
import hudson.security.HudsonPrivateSecurityRealm
import hudson.slaves.DumbSlave
import hudson.slaves.JNLPLauncher
import hudson.slaves.RetentionStrategy
import hudson.tasks.Shell
import hudson.triggers.TimerTrigger
import jenkins.model.Jenkins
import jenkins.model.JenkinsLocationConfiguration

def lab = new JsonSlurper().parse(new File('/etc/jenkins-lab/config.json'))
def jenkins = Jenkins.get()

def realm = jenkins.securityRealm
if (!(realm instanceof HudsonPrivateSecurityRealm)) {
    realm = new HudsonPrivateSecurityRealm(false)
    jenkins.securityRealm = realm
}
// A password is set only where it is another: setting one ends all sessions.
def account = { String name, String file ->
    def told = new File(file).text
    def user = hudson.model.User.getById(name, false)
    def details = user?.getProperty(HudsonPrivateSecurityRealm.Details)
    if (details == null) {
        realm.createAccount(name, told)
    } else if (!details.isPasswordCorrect(told)) {
        user.addProperty(HudsonPrivateSecurityRealm.Details.fromPlainPassword(told))
        user.save()
    }
}
account(lab.admin, '/etc/jenkins-lab/admin.password')

def matrix = null
try {
    matrix = jenkins.pluginManager.uberClassLoader.loadClass('hudson.security.GlobalMatrixAuthorizationStrategy')
} catch (ClassNotFoundException e) {
    println 'labctl: without the plugin matrix-auth everybody who has an account may do everything'
}
if (matrix == null) {
    def strategy = new FullControlOnceLoggedInAuthorizationStrategy()
    strategy.allowAnonymousRead = false
    jenkins.authorizationStrategy = strategy
} else {
    def strategy = jenkins.authorizationStrategy
    if (!matrix.isInstance(strategy)) {
        strategy = matrix.getDeclaredConstructor().newInstance()
    }
    strategy.add(Jenkins.ADMINISTER, lab.admin)
    if (lab.agents) {
        account('agents', '/etc/jenkins-lab/agents.password')
        strategy.add(Jenkins.READ, 'agents')
        strategy.add(hudson.model.Computer.CONNECT, 'agents')
    }
    jenkins.authorizationStrategy = strategy
}

jenkins.numExecutors = lab.executors
jenkins.slaveAgentPort = -1 // agents come over HTTP
JenkinsLocationConfiguration.get().url = lab.url

lab.agents.each { name, executors ->
    def node = jenkins.getNode(name)
    if (node == null) {
        def launcher = new JNLPLauncher()
        launcher.webSocket = true
        node = new DumbSlave(name, '/var/lib/jenkins', launcher)
        node.retentionStrategy = new RetentionStrategy.Always()
        node.nodeDescription = 'made by labctl'
        node.mode = Node.Mode.NORMAL
    }
    node.numExecutors = executors
    jenkins.addNode(node)
}
jenkins.nodes.findAll { it.nodeDescription == 'made by labctl' && !lab.agents.containsKey(it.nodeName) }.each { jenkins.removeNode(it) }

lab.jobs.each { name, what ->
    def job = jenkins.getItem(name)
    if (job == null) {
        job = jenkins.createProject(FreeStyleProject, name)
    }
    job.description = what.description + ' (made by labctl)'
    job.buildersList.replaceBy([new Shell(what.run)])
    job.triggers.values().each { job.removeTrigger(it.descriptor) }
    def trigger = new TimerTrigger(what.schedule)
    job.addTrigger(trigger)
    trigger.start(job, true)
    job.save()
}
jenkins.save()
