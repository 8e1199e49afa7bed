"""Contains all the data models used in inputs/outputs"""

from .accepted_turn import AcceptedTurn
from .agent import Agent
from .agent_demand import AgentDemand
from .agent_labels import AgentLabels
from .agent_lease import AgentLease
from .agent_lease_page import AgentLeasePage
from .agent_leases_held import AgentLeasesHeld
from .agent_leases_released import AgentLeasesReleased
from .agent_list import AgentList
from .agent_status import AgentStatus
from .api_key import ApiKey
from .appended import Appended
from .archive import Archive
from .archive_format import ArchiveFormat
from .archive_page import ArchivePage
from .attempt import Attempt
from .attempt_outcome import AttemptOutcome
from .attempt_state import AttemptState
from .attribution import Attribution
from .cancel_body import CancelBody
from .cancelled_turn import CancelledTurn
from .circuit_state import CircuitState
from .claim_jobs import ClaimJobs
from .claimed_job import ClaimedJob
from .claimed_jobs import ClaimedJobs
from .complete_job import CompleteJob
from .config_answer import ConfigAnswer
from .config_answer_config import ConfigAnswerConfig
from .config_schema import ConfigSchema
from .config_schema_schema import ConfigSchemaSchema
from .create_tenant import CreateTenant
from .cron_config import CronConfig
from .day import Day
from .delivery_config import DeliveryConfig
from .delivery_config_headers_type_0 import DeliveryConfigHeadersType0
from .end_agent_lease import EndAgentLease
from .endpoint_list import EndpointList
from .endpoint_state import EndpointState
from .event import Event
from .event_config import EventConfig
from .event_in import EventIn
from .event_page import EventPage
from .execution import Execution
from .execution_attempt import ExecutionAttempt
from .execution_counts import ExecutionCounts
from .execution_list import ExecutionList
from .execution_source import ExecutionSource
from .execution_status import ExecutionStatus
from .execution_summary import ExecutionSummary
from .fail_job import FailJob
from .field_error import FieldError
from .health_report import HealthReport
from .health_report_checks import HealthReportChecks
from .health_report_info import HealthReportInfo
from .heartbeat_job import HeartbeatJob
from .hold_agent_leases import HoldAgentLeases
from .interval_config import IntervalConfig
from .job import Job
from .job_attempt import JobAttempt
from .job_config import JobConfig
from .job_detail import JobDetail
from .job_list import JobList
from .job_status import JobStatus
from .keys import Keys
from .lease_answer import LeaseAnswer
from .lease_end_status import LeaseEndStatus
from .lease_ended import LeaseEnded
from .lease_status import LeaseStatus
from .level import Level
from .made_up import MadeUp
from .mint_key import MintKey
from .misfire import Misfire
from .new_agent_lease import NewAgentLease
from .new_archives import NewArchives
from .new_config import NewConfig
from .new_config_config import NewConfigConfig
from .new_config_labels_type_0 import NewConfigLabelsType0
from .new_fleet_agent import NewFleetAgent
from .new_fleet_agent_labels_type_0 import NewFleetAgentLabelsType0
from .new_job import NewJob
from .new_key import NewKey
from .new_site import NewSite
from .new_site_event import NewSiteEvent
from .new_tenant import NewTenant
from .new_thread_archive import NewThreadArchive
from .new_thread_event import NewThreadEvent
from .new_trigger import NewTrigger
from .new_turn import NewTurn
from .on_busy import OnBusy
from .pagination import Pagination
from .preview import Preview
from .preview_trigger import PreviewTrigger
from .problem import Problem
from .pushed import Pushed
from .raised_share import RaisedShare
from .random_site_events import RandomSiteEvents
from .registered import Registered
from .release_agent_leases import ReleaseAgentLeases
from .release_job import ReleaseJob
from .resource_status import ResourceStatus
from .restore_archives import RestoreArchives
from .retention_status import RetentionStatus
from .retried_jobs import RetriedJobs
from .retry_config import RetryConfig
from .retry_jobs import RetryJobs
from .rollback import Rollback
from .rollback_labels_type_0 import RollbackLabelsType0
from .schedule import Schedule
from .schedule_list import ScheduleList
from .schedule_status import ScheduleStatus
from .scope import Scope
from .server_sent_event import ServerSentEvent
from .site import Site
from .site_detail import SiteDetail
from .site_event import SiteEvent
from .site_event_page import SiteEventPage
from .site_page import SitePage
from .site_state import SiteState
from .stored_thread_event import StoredThreadEvent
from .summary import Summary
from .sync_report import SyncReport
from .tenant import Tenant
from .tenants import Tenants
from .test_config import TestConfig
from .test_run import TestRun
from .test_trigger import TestTrigger
from .thread import Thread
from .thread_demand import ThreadDemand
from .thread_event import ThreadEvent
from .thread_event_page import ThreadEventPage
from .thread_page import ThreadPage
from .thread_status import ThreadStatus
from .time_config import TimeConfig
from .timeseries import Timeseries
from .touch import Touch
from .trigger import Trigger
from .trigger_edit import TriggerEdit
from .trigger_list import TriggerList
from .trigger_status import TriggerStatus
from .trigger_summary import TriggerSummary
from .trigger_type import TriggerType
from .turn import Turn
from .turn_page import TurnPage
from .turn_status import TurnStatus
from .verify_archives import VerifyArchives
from .version import Version
from .version_config import VersionConfig
from .version_labels import VersionLabels
from .version_list import VersionList
from .webhook_call import WebhookCall
from .webhook_config import WebhookConfig

__all__ = (
    "AcceptedTurn",
    "Agent",
    "AgentDemand",
    "AgentLabels",
    "AgentLease",
    "AgentLeasePage",
    "AgentLeasesHeld",
    "AgentLeasesReleased",
    "AgentList",
    "AgentStatus",
    "ApiKey",
    "Appended",
    "Archive",
    "ArchiveFormat",
    "ArchivePage",
    "Attempt",
    "AttemptOutcome",
    "AttemptState",
    "Attribution",
    "CancelBody",
    "CancelledTurn",
    "CircuitState",
    "ClaimedJob",
    "ClaimedJobs",
    "ClaimJobs",
    "CompleteJob",
    "ConfigAnswer",
    "ConfigAnswerConfig",
    "ConfigSchema",
    "ConfigSchemaSchema",
    "CreateTenant",
    "CronConfig",
    "Day",
    "DeliveryConfig",
    "DeliveryConfigHeadersType0",
    "EndAgentLease",
    "EndpointList",
    "EndpointState",
    "Event",
    "EventConfig",
    "EventIn",
    "EventPage",
    "Execution",
    "ExecutionAttempt",
    "ExecutionCounts",
    "ExecutionList",
    "ExecutionSource",
    "ExecutionStatus",
    "ExecutionSummary",
    "FailJob",
    "FieldError",
    "HealthReport",
    "HealthReportChecks",
    "HealthReportInfo",
    "HeartbeatJob",
    "HoldAgentLeases",
    "IntervalConfig",
    "Job",
    "JobAttempt",
    "JobConfig",
    "JobDetail",
    "JobList",
    "JobStatus",
    "Keys",
    "LeaseAnswer",
    "LeaseEnded",
    "LeaseEndStatus",
    "LeaseStatus",
    "Level",
    "MadeUp",
    "MintKey",
    "Misfire",
    "NewAgentLease",
    "NewArchives",
    "NewConfig",
    "NewConfigConfig",
    "NewConfigLabelsType0",
    "NewFleetAgent",
    "NewFleetAgentLabelsType0",
    "NewJob",
    "NewKey",
    "NewSite",
    "NewSiteEvent",
    "NewTenant",
    "NewThreadArchive",
    "NewThreadEvent",
    "NewTrigger",
    "NewTurn",
    "OnBusy",
    "Pagination",
    "Preview",
    "PreviewTrigger",
    "Problem",
    "Pushed",
    "RaisedShare",
    "RandomSiteEvents",
    "Registered",
    "ReleaseAgentLeases",
    "ReleaseJob",
    "ResourceStatus",
    "RestoreArchives",
    "RetentionStatus",
    "RetriedJobs",
    "RetryConfig",
    "RetryJobs",
    "Rollback",
    "RollbackLabelsType0",
    "Schedule",
    "ScheduleList",
    "ScheduleStatus",
    "Scope",
    "ServerSentEvent",
    "Site",
    "SiteDetail",
    "SiteEvent",
    "SiteEventPage",
    "SitePage",
    "SiteState",
    "StoredThreadEvent",
    "Summary",
    "SyncReport",
    "Tenant",
    "Tenants",
    "TestConfig",
    "TestRun",
    "TestTrigger",
    "Thread",
    "ThreadDemand",
    "ThreadEvent",
    "ThreadEventPage",
    "ThreadPage",
    "ThreadStatus",
    "TimeConfig",
    "Timeseries",
    "Touch",
    "Trigger",
    "TriggerEdit",
    "TriggerList",
    "TriggerStatus",
    "TriggerSummary",
    "TriggerType",
    "Turn",
    "TurnPage",
    "TurnStatus",
    "VerifyArchives",
    "Version",
    "VersionConfig",
    "VersionLabels",
    "VersionList",
    "WebhookCall",
    "WebhookConfig",
)
