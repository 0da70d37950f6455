"""No DAG comes from this file: it is an import error as long as a use case has wrong settings.

Airflow keeps one import error a file and takes all DAGs of that file out of service. Here the error names the file and
the key, while the DAGs of the other use cases go on.
"""

from pipelines.errors import UserError
from plugins.defaults import check_usecases

if messages := check_usecases().wrong:
    raise UserError("\n".join(messages))
